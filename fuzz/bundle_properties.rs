//! What holds for the files of any checkpoint. The fuzz target feeds it what it invents, the crate's own tests feed it damaged seeds.

use std::io::Write;
use std::path::Path;

use tf_rewriter::Bundle;
use tf_rewriter::bundle::{NewValues, TensorPart, Values, patch};
use tf_rewriter::wire::put_varint;

/// The end of a LevelDB table.
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// Two files in one: the length of the first (four bytes, little-endian), then both. With an odd first byte the first is the content
/// of a block, and stands in a table with right checksums, so that damage reaches what is behind them; with its second bit, the content
/// is compressed.
pub(crate) fn split(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return (Vec::new(), bytes) };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return (Vec::new(), rest) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).min(rest.len());
    let (index, data) = rest.split_at(length);
    (if kind % 2 == 0 { index.to_vec() } else { table(index, (kind >> 1) & 1) }, data)
}

/// Any files are a checkpoint that can be read or an error, and no tensor is longer than the bytes that are there. `folder` is where
/// they are written.
pub(crate) fn checkpoint_is_bounded(bytes: &[u8], folder: &Path) {
    let (index, data) = split(bytes);
    let bundle = match open(&index, data, folder) {
        Ok(bundle) => bundle,
        Err(error) => return assert!(error.location().is_some(), "{error}"),
    };
    for name in bundle.names() {
        match bundle.tensor(name) {
            Ok(tensor) => {
                let tensor = tensor.expect("a name that was listed");
                assert!(tensor.bytes.len() <= data.len(), "`{name}` is longer than its file");
            }
            Err(error) => assert!(error.location().is_some(), "{error}"),
        }
        match bundle.strings(name) {
            Ok(strings) => {
                let strings = strings.expect("a name that was listed");
                assert!(strings.iter().map(Vec::len).sum::<usize>() <= data.len(), "`{name}` is longer than its file");
            }
            Err(error) => assert!(error.location().is_some(), "{error}"),
        }
        let shape = bundle.entry(name).ok().flatten().map(|entry| entry.shape).unwrap_or_default();
        for slice in slices(&shape) {
            let values = bundle.values(name, &slice).map(|values| values.expect("a name that was listed"));
            match values.and_then(Values::into_bytes) {
                Ok(bytes) => assert!(bytes.len() <= data.len(), "`{name}` {slice} is longer than its file"),
                Err(error) => assert!(error.location().is_some(), "{error}"),
            }
        }
    }
}

/// In a checkpoint that can be read, one tensor gets other values, or that is an error: all others are read as before.
pub(crate) fn patches_keep_the_rest(bytes: &[u8], folder: &Path) {
    let (index, data) = split(bytes);
    let Ok(bundle) = open(&index, data, folder) else { return };
    let tensors = bundle.names().filter_map(|name| Some((name, bundle.tensor(name).ok()??.bytes)));
    let tensors: Vec<(&str, Vec<u8>)> = tensors.collect();
    let Some((chosen, old)) = tensors.get(bytes.len() % tensors.len().max(1)) else { return };
    let new: Vec<u8> = old.iter().map(|byte| !byte).collect();
    let write = |out: &mut (dyn Write + Send)| {
        out.write_all(&new).map_err(|source| tf_rewriter::Error::Io { action: "write the values", source })
    };
    let values = NewValues { parts: vec![TensorPart::whole(*chosen)], write: Box::new(write) };
    if let Err(error) = patch(&bundle, &folder.join("patched"), vec![values]) {
        // Another entry is damaged, or tensors share bytes.
        return assert!(["E0104", "E0201", "E0705"].contains(&error.code()), "{error}");
    }
    let patched = Bundle::open(&folder.join("patched")).expect("what was written");
    for (name, old) in &tensors {
        let found = patched.require(name).expect("a tensor that was there");
        assert!(found.bytes == if name == chosen { &new[..] } else { old }, "`{name}` with new values for `{chosen}`");
    }
}

fn open(index: &[u8], data: &[u8], folder: &Path) -> Result<Bundle, tf_rewriter::Error> {
    for (end, bytes) in [(".index", index), (".data-00000-of-00001", data)] {
        // Nobody maps them any more.
        #[expect(clippy::disallowed_methods, reason = "files of no worth, by the thousand")]
        std::fs::write(folder.join(format!("m{end}")), bytes).expect("a folder that can be written");
    }
    Bundle::open(&folder.join("m"))
}

/// All of a tensor, and a part of one, which lies in the middle of every dimension.
fn slices(shape: &[u64]) -> [String; 2] {
    let full: Vec<String> = shape.iter().map(u64::to_string).collect();
    let middle: Vec<String> = shape.iter().map(|size| format!("{},{}", size / 3, size.div_ceil(3))).collect();
    [String::new(), format!("{} {}", full.join(" "), middle.join(":"))]
}

fn table(content: &[u8], compression: u8) -> Vec<u8> {
    let mut table = block(content, compression);
    // One key above all, with the place of the block; a list of one restart.
    let place = handle(0, content.len());
    let mut index = vec![0, 1, u8::try_from(place.len()).expect("two numbers"), 0xff];
    index.extend(place);
    index.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    let mut footer = [handle(0, 0), handle(table.len(), index.len())].concat();
    footer.resize(40, 0);
    footer.extend(MAGIC.to_le_bytes());
    table.extend(block(&index, 0));
    table.extend(footer);
    table
}

/// A block with its trailer: how it is compressed, and the masked checksum.
fn block(content: &[u8], compression: u8) -> Vec<u8> {
    let mut block = content.to_vec();
    block.push(compression);
    let crc = crc32c::crc32c(&block).rotate_right(15).wrapping_add(0xa282_ead8);
    block.extend(crc.to_le_bytes());
    block
}

fn handle(offset: usize, size: usize) -> Vec<u8> {
    let mut handle = Vec::new();
    put_varint(&mut handle, offset as u64);
    put_varint(&mut handle, size as u64);
    handle
}
