//! Commands that are the same in every binary.

use clap::{Args, Command};
use clap_complete::Shell;
use quant_math::config::{self, op_types};

use crate::args::GlobalArgs;
use crate::failure::Failure;
use crate::table;

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

impl CompletionsArgs {
    /// Print the completions of `command`.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn run(&self, global: &GlobalArgs, mut command: Command) -> Result<(), Failure> {
        let name = command.get_name().to_owned();
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut text);
        let mut out = global.out();
        std::io::Write::write_all(&mut out, &text)?;
        Ok(out.finish()?)
    }
}

/// Arguments of `schema`.
#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {
    /// Print the table of op types that mean the same instead
    #[arg(long)]
    pub op_types: bool,
}

impl SchemaArgs {
    /// Print the JSON Schema of a config, or the table of op types.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        use std::io::Write as _;
        let mut out = global.out();
        match (self.op_types, global.json) {
            (false, _) => write!(out, "{}", config::SCHEMA)?,
            (true, true) => out.json(&op_types::OP_TYPES)?,
            (true, false) => writeln!(out, "{}", op_type_table(table::terminal_width()))?,
        }
        Ok(out.finish()?)
    }
}

/// The table of op types for a person.
fn op_type_table(width: Option<u16>) -> String {
    let layout = table::Layout { header: &["names", "default in"], wrap: &[0], right: &[] };
    let mut table = table::new(&layout);
    for row in op_types::OP_TYPES {
        let default_in = match (row.default_in_tensorflow, row.default_in_torch) {
            (true, true) => "TensorFlow, TorchScript",
            (true, false) => "TensorFlow",
            (false, true) => "TorchScript",
            (false, false) => "",
        };
        table.add_row([row.names.join(" = "), default_in.to_owned()]);
    }
    table::text(table, width, &layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_op_types_says_what_means_the_same() {
        let text = op_type_table(None);
        assert!(text.contains("MatMul = Linear = Dense"), "{text}");
        let conv = text.lines().find(|line| line.contains("Conv2D ")).unwrap();
        assert!(conv.ends_with("TensorFlow, TorchScript"), "{conv}");
    }
}
