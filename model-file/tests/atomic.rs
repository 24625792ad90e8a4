//! Output files are complete or absent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use model_file::{AtomicError, AtomicFile, atomic};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_target_is_untouched_until_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.pb");
    atomic::write(&target, b"old").unwrap();

    let mut file = AtomicFile::create(&target).unwrap();
    file.write_all(b"xxx").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"new content").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"old");
    // What was written can be read back before it takes its name.
    let mut back = Vec::new();
    fs::File::open(file.path()).unwrap().read_to_end(&mut back).unwrap();
    assert_eq!(back, b"new content");
    assert_eq!(names(folder.path()).len(), 2);
    assert!(names(folder.path())[0].starts_with(".model.pb."), "{:?}", names(folder.path()));
    assert_eq!(file.target(), target);

    file.persist().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new content");
    assert_eq!(names(folder.path()), ["model.pb"]);
}

#[test]
fn a_dropped_file_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.pb");
    atomic::write(&target, b"old").unwrap();
    let mut file = AtomicFile::create(&target).unwrap();
    file.write_all(b"half").unwrap();
    drop(file);
    assert_eq!(names(folder.path()), ["model.pb"]);
    assert_eq!(fs::read(&target).unwrap(), b"old");
}

#[test]
fn a_mapped_input_may_be_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.pb");
    atomic::write(&target, b"old bytes").unwrap();
    // An open file stands for a map: both hold on to the old contents.
    let mut input = fs::File::open(&target).unwrap();
    atomic::write(&target, b"n").unwrap();
    let mut seen = Vec::new();
    input.read_to_end(&mut seen).unwrap();
    assert_eq!(seen, b"old bytes");
    assert_eq!(fs::read(&target).unwrap(), b"n");
}

#[cfg(unix)]
#[test]
fn permissions_of_what_is_replaced_are_kept_and_new_ones_are_usual() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let target = folder.path().join("model.pb");
    atomic::write(&target, b"1").unwrap();
    // What the system's own way of making a file gives, umask included.
    let usual = folder.path().join("usual");
    fs::OpenOptions::new().write(true).create_new(true).open(&usual).unwrap();
    assert_eq!(mode(&target), mode(&usual));
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    atomic::write(&target, b"2").unwrap();
    assert_eq!(mode(&target), 0o640);

    let target = folder.path().join("model");
    let put = || atomic::AtomicFolder::create(&target).unwrap().persist(&|_| true).unwrap();
    put();
    let usual = folder.path().join("usual folder");
    fs::create_dir(&usual).unwrap();
    assert_eq!(mode(&target), mode(&usual));
    fs::set_permissions(&target, fs::Permissions::from_mode(0o750)).unwrap();
    put();
    assert_eq!(mode(&target), 0o750);
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_followed() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("store")).unwrap();
    atomic::write(&path("store/real"), b"old").unwrap();
    symlink("store/real", path("middle")).unwrap();
    symlink(path("middle"), path("link")).unwrap();
    atomic::write(&path("link"), b"new").unwrap();
    assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(path("middle")).unwrap().is_symlink());
    assert_eq!(fs::read(path("store/real")).unwrap(), b"new");
    assert_eq!(names(&path("store")), ["real"]);

    // A link to a file that is not there yet.
    symlink("store/fresh", path("dangling")).unwrap();
    atomic::write(&path("dangling"), b"made").unwrap();
    assert_eq!(fs::read(path("store/fresh")).unwrap(), b"made");

    symlink("loop_b", path("loop_a")).unwrap();
    symlink("loop_a", path("loop_b")).unwrap();
    let error = AtomicFile::create(&path("loop_a")).unwrap_err();
    assert_eq!(error.code(), "O0103");
}

#[test]
fn what_cannot_be_a_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = AtomicFile::create(folder.path()).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        ("O0102", format!("`{}` is a folder, expected a file or nothing", folder.path().display()))
    );
    #[cfg(unix)]
    {
        let error = AtomicFile::create(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.to_string(), "`/dev/null` is a device or pipe, expected a file or nothing");
        assert!(error.help().is_some());
    }
    for bad in ["", "..", "/"] {
        let error = AtomicFile::create(Path::new(bad)).unwrap_err();
        assert!(["O0102", "O0103"].contains(&error.code()), "{bad}: {error}");
    }

    let error = AtomicFile::create(&folder.path().join("none/model.pb")).unwrap_err();
    let AtomicError::Folder { folder: named, source } = &error else { unreachable!("{error:?}") };
    assert_eq!(
        (error.code(), named.as_path(), source.kind()),
        ("O0101", &*folder.path().join("none"), ErrorKind::NotFound)
    );
    assert_eq!(error.help(), Some("create the folder first"));
    assert_eq!(error.to_string(), format!("cannot create a file in `{}`", folder.path().join("none").display()));

    atomic::write(&folder.path().join("file"), b"x").unwrap();
    let error = AtomicFile::create(&folder.path().join("file/model.pb")).unwrap_err();
    assert_eq!(error.code(), "O0101");
}

#[test]
fn a_bare_name_lands_in_the_current_folder() {
    // Nothing is left behind: the file is dropped.
    let file = AtomicFile::create(Path::new("atomic-bare-name")).unwrap();
    assert_eq!(file.path().parent().unwrap().canonicalize().unwrap(), std::env::current_dir().unwrap());
}

#[test]
fn the_way_out_follows_from_what_the_system_said() {
    let help = |kind: ErrorKind| AtomicError::Write { path: "o".into(), source: kind.into() }.help();
    assert!(help(ErrorKind::StorageFull).unwrap().starts_with("free some space"));
    assert!(help(ErrorKind::PermissionDenied).unwrap().contains("its folder must be writable"));
    assert_eq!(help(ErrorKind::TimedOut), None);
}

#[cfg(unix)]
#[test]
fn what_a_killed_process_left_is_cleared_away_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.pb");
    // Nobody has these locked; the last four are not temp files of this target.
    let left = [".model.pb.Ab3dE9.tmp", ".model.pb.000000.tmp"];
    let others = [".model.pb.Ab3dE.tmp", ".model.pb.x.Ab3dE9.tmp", ".other.pb.Ab3dE9.tmp", "model.pb.Ab3dE9.tmp"];
    for name in left.iter().chain(&others) {
        atomic::write(&folder.path().join(name), b"").unwrap();
    }
    std::os::unix::fs::symlink("model.pb.Ab3dE9.tmp", folder.path().join(".model.pb.link00.tmp")).unwrap();
    let running = AtomicFile::create(&target).unwrap();
    let kept = running.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut expected: Vec<_> = others.iter().map(|name| (*name).to_owned()).collect();
    expected.extend([kept, ".model.pb.link00.tmp".to_owned()]);
    expected.sort();
    assert_eq!(names(folder.path()), expected);
    // Another run to the same target leaves the first one's file alone.
    atomic::write(&target, b"second").unwrap();
    expected.push("model.pb".to_owned());
    expected.sort();
    assert_eq!(names(folder.path()), expected);
    running.persist().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"");
}

#[cfg(unix)]
#[test]
fn runs_to_one_target_do_not_take_each_others_files() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model.pb");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    atomic::write(&target, b"whole").unwrap();
                }
            });
        }
    });
    assert_eq!(names(folder.path()), ["model.pb"]);
    assert_eq!(fs::read(&target).unwrap(), b"whole");
}
