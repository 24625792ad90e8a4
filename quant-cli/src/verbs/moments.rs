//! Reading and writing files of moments.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use quant_math::moments::{Moments, MomentsError};

use crate::args::GlobalArgs;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::size::count;

/// The largest file of moments: 2048 inputs have 8 MiB, and no model that was seen has more than some hundred such layers.
const LARGEST: u64 = 4 << 30;

/// Read a file of moments.
///
/// # Errors
/// A file that cannot be read or is none.
pub fn read_moments(path: &Path) -> Result<Moments, Failure> {
    let unread = |error: &dyn Error| {
        let shown = path.display().to_string();
        Failure::failed(Diagnostic::error("R0111", "cannot read the moments").at(shown).caused_by(error))
    };
    let length = std::fs::metadata(path).map_err(|error| unread(&error))?.len();
    if length > LARGEST {
        let error = MomentsError::Form(format!("{length} bytes are more than the {LARGEST} that are read"));
        return Err(failure(&error, path));
    }
    let bytes = std::fs::read(path).map_err(|error| unread(&error))?;
    Moments::parse(&bytes).map_err(|error| failure(&error, path))
}

/// Write a file of moments that is complete or absent.
///
/// # Errors
/// A place that cannot be written.
pub fn write_moments(moments: &Moments, path: &Path) -> Result<(), Failure> {
    let bytes = moments.to_bytes().map_err(|error| failure(&error, path))?;
    Ok(model_file::atomic::write(path, &bytes)?)
}

/// Say what was measured, and into which file it went.
///
/// # Errors
/// Standard output cannot be written to.
pub fn tell_moments(global: &GlobalArgs, moments: &Moments, output: &Path) -> Result<(), Failure> {
    let mut out = global.out();
    let layers = moments.layers.len();
    if global.json {
        out.json(&serde_json::json!({
            "layers": layers, "samples": moments.samples, "framework": moments.framework, "output": output
        }))?;
    } else {
        writeln!(
            out,
            "moments of {} over {} samples -> {}",
            count(layers, "layer"),
            moments.samples,
            output.display()
        )?;
    }
    Ok(out.finish()?)
}

fn failure(error: &MomentsError, path: &Path) -> Failure {
    let diagnostic = Diagnostic::error(error.code(), error.to_string()).at(path.display().to_string());
    Failure::failed(diagnostic.help(error.help()))
}
