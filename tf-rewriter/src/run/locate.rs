//! Where TensorFlow's library is.
//!
//! Looked at in this order: the folder that was named, `TENSORFLOW_DIR`, the loader's path, and the `tensorflow` package of the
//! `python3` on the path. That package names its library `libtensorflow_cc.so.2`; the `tensorflow` crate loads a file that is called
//! exactly `libtensorflow.so`, so a folder with links of the right names is made for it.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model_file::atomic::Unfinished;
use tempfile::TempDir;

use super::RunError;

/// The variable that names TensorFlow's folder, here and to the `tensorflow` crate.
pub const VARIABLE: &str = "TENSORFLOW_DIR";

const NAME: &str = "libtensorflow.so";
/// Names under which the C API is shipped, the crate's own first.
const NAMES: [&str; 3] = [NAME, "libtensorflow.so.2", "libtensorflow_cc.so.2"];
const FRAMEWORK: &str = "libtensorflow_framework.so.2";
/// Folders below a named one in which the library may be: an unpacked C library, and a virtual environment's site-packages.
const BELOW: [&str; 3] = ["", "lib", "tensorflow"];
/// Where the loader looks without being told.
const SYSTEM: [&str; 4] = ["/usr/local/lib", "/usr/local/lib/libtensorflow", "/usr/lib", "/usr/lib64"];

/// One place that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Why it was looked at (`--tensorflow-dir`, `TENSORFLOW_DIR`, …).
    pub origin: &'static str,
    /// The folder, or why there was none.
    pub folder: Result<PathBuf, String>,
    /// The library in it.
    pub library: Option<PathBuf>,
}

/// The library, with every place that was looked at before it was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// In order; only the last can hold a library.
    pub places: Vec<Place>,
}

impl Search {
    /// Look for the library; `named` is the folder of `--tensorflow-dir`. A folder that was named is looked at alone.
    pub fn new(named: Option<&Path>) -> Self {
        let mut search = Self::default();
        if let Some(folder) = named {
            search.look("--tensorflow-dir", folder);
            return search;
        }
        match env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
            Some(folder) => search.look(VARIABLE, Path::new(&folder)),
            None => search.nothing(VARIABLE, "not set".to_owned()),
        }
        let loader = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        for folder in env::split_paths(&loader).filter(|folder| folder.is_absolute()) {
            search.look("LD_LIBRARY_PATH", &folder);
        }
        for folder in SYSTEM {
            search.look("loader's path", Path::new(folder));
        }
        if search.library().is_none() {
            match python_package(OsStr::new("python3")) {
                Ok(folder) => search.look("python3", &folder),
                Err(message) => search.nothing("python3", message),
            }
        }
        search
    }

    /// The library, where one was found.
    pub fn library(&self) -> Option<&Path> {
        self.places.iter().find_map(|place| place.library.as_deref())
    }

    fn look(&mut self, origin: &'static str, folder: &Path) {
        if self.library().is_some() {
            return;
        }
        let candidates = BELOW.iter().flat_map(|below| NAMES.iter().map(move |name| folder.join(below).join(name)));
        let library = candidates.into_iter().find(|path| path.is_file());
        self.places.push(Place { origin, folder: Ok(folder.to_owned()), library });
    }

    fn nothing(&mut self, origin: &'static str, message: String) {
        if self.library().is_none() {
            self.places.push(Place { origin, folder: Err(message), library: None });
        }
    }

    /// A folder in which the `tensorflow` crate finds the library.
    ///
    /// # Errors
    /// [`RunError::NoTensorFlow`]; a folder for links that cannot be made.
    pub fn folder(&self) -> Result<Folder, RunError> {
        let Some(library) = self.library() else {
            let told = |place: &Place| match &place.folder {
                Ok(folder) => format!("{} (`{}`)", place.origin, folder.display()),
                Err(message) => format!("{} ({message})", place.origin),
            };
            let looked = self.places.iter().map(told).collect::<Vec<_>>().join(", ");
            return Err(RunError::NoTensorFlow { looked });
        };
        let library = library.canonicalize().unwrap_or_else(|_| library.to_owned());
        let home = library.parent().unwrap_or(Path::new("/"));
        if library.file_name() == Some(OsStr::new(NAME)) {
            return Ok(Folder { path: home.to_owned(), links: None });
        }
        let failed = |source| RunError::Io { action: "link TensorFlow's library into", path: env::temp_dir(), source };
        let make = || tempfile::Builder::new().prefix("tf-rewriter-").tempdir();
        let (links, unfinished) = Unfinished::make(make, TempDir::path).map_err(failed)?;
        link(&library, &links.path().join(NAME)).map_err(failed)?;
        // The library looks for this one beside itself.
        let framework = home.join(FRAMEWORK);
        if framework.is_file() {
            link(&framework, &links.path().join(FRAMEWORK)).map_err(failed)?;
        }
        Ok(Folder { path: links.path().to_owned(), links: Some((links, unfinished)) })
    }
}

/// A folder with a file `libtensorflow.so`. Links that were made for it go away on drop; a library that was loaded through them stays.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    #[expect(dead_code, reason = "kept for its drop")]
    links: Option<(TempDir, Unfinished)>,
}

impl Folder {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(unix)]
fn link(original: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

#[cfg(not(unix))]
fn link(original: &Path, link: &Path) -> std::io::Result<()> {
    std::fs::hard_link(original, link)
}

/// The folder of an interpreter's `tensorflow` package. The package is found, not imported, which would take seconds.
fn python_package(interpreter: &OsStr) -> Result<PathBuf, String> {
    const FIND: &str = "import importlib.util as u; s = u.find_spec('tensorflow'); print(s.submodule_search_locations[0] if s else '')";
    let output = Command::new(interpreter).args(["-c", FIND]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if text.is_empty() { Err("has no `tensorflow` package".to_owned()) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(name: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        tempfile::NamedTempFile::new_in(folder.path()).unwrap().persist(path).unwrap();
        folder
    }

    #[test]
    fn a_named_folder_is_looked_at_alone() {
        let empty = tempfile::tempdir().unwrap();
        let search = Search::new(Some(empty.path()));
        assert_eq!(search.places.len(), 1);
        let error = search.folder().unwrap_err();
        assert_eq!(error.code(), "E0801");
        assert!(error.to_string().contains("--tensorflow-dir"), "{error}");
        assert!(error.help().unwrap().contains(super::super::INSTALL));
    }

    #[test]
    fn every_name_of_the_library_is_found_and_linked() {
        for name in ["libtensorflow.so", "lib/libtensorflow.so.2", "tensorflow/libtensorflow_cc.so.2"] {
            let home = folder_with(name);
            let search = Search::new(Some(home.path()));
            assert_eq!(search.library(), Some(home.path().join(name).as_path()));
            let folder = search.folder().unwrap();
            assert!(folder.path().join("libtensorflow.so").is_file(), "{name}");
        }
    }

    #[test]
    fn an_interpreter_that_is_not_there_says_so() {
        let message = python_package(OsStr::new("no-such-python")).unwrap_err();
        assert!(message.starts_with("cannot be run"), "{message}");
    }
}
