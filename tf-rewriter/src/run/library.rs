//! Loading TensorFlow's library.

#[cfg(not(feature = "link-tensorflow"))]
use std::path::PathBuf;

use super::RunError;

/// Load the library, once, from the folder that `TENSORFLOW_DIR` names or from where the `tensorflow` crate looks; returns its version.
///
/// # Errors
/// No library there, or one that is not TensorFlow's.
#[cfg(not(feature = "link-tensorflow"))]
pub fn load() -> Result<String, RunError> {
    static LOADED: std::sync::OnceLock<Result<String, (PathBuf, String)>> = std::sync::OnceLock::new();
    // Where it was found may be gone by now; what is loaded stays.
    if let Some(Ok(version)) = LOADED.get() {
        return Ok(version.clone());
    }
    let Some(path) = tensorflow::library::find() else {
        return Err(RunError::NoTensorFlow { looked: "TENSORFLOW_DIR, LD_LIBRARY_PATH and /usr/local/lib".to_owned() });
    };
    let loaded = LOADED.get_or_init(|| {
        tensorflow::library::load().map_err(|message| (path.clone(), message))?;
        version().ok_or_else(|| (path, "it has no function `TF_Version`".to_owned()))
    });
    loaded.clone().map_err(|(path, message)| RunError::Library { path, message })
}

/// The version of the library that this program was linked with.
///
/// # Errors
/// None: a program without its library does not start.
#[cfg(feature = "link-tensorflow")]
pub fn load() -> Result<String, RunError> {
    Ok(tensorflow::version().unwrap_or_default())
}

/// The crate panics where a library lacks a function, which is how another library than TensorFlow's shows.
#[cfg(not(feature = "link-tensorflow"))]
fn version() -> Option<String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let version = std::panic::catch_unwind(tensorflow::version);
    std::panic::set_hook(hook);
    version.ok()?.ok()
}
