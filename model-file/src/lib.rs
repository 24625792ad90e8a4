//! Files of models as the libraries read and write them: mapped into memory, whatever other programs do to them, and written so that they
//! are complete or absent.
//!
//! Of formats, [`format`](mod@format) tells which one a file is in; nothing here reads them, or knows of command lines or terminals. All
//! unsafe code that reading a file needs is in `map/`.

pub mod atomic;
pub mod format;
mod in_file;
mod lfs;
mod map;
mod pipeline;

pub use atomic::{AtomicError, AtomicFile};
pub use format::Format;
pub use in_file::InFile;
pub use lfs::{LFS_HELP, LFS_POINTER, is_lfs_pointer};
pub use map::{Changed, MappedFile};
pub use pipeline::{WRITE, pipeline, put};
