//! A command line that cannot be read, told like every other error.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::GlobalArgs;
use crate::diagnostic::Diagnostic;

/// Read the command line of this process; where that is wrong, or asks for help or the version, tell so and give the exit code.
///
/// # Errors
/// 0 after help and version, 2 after an error, which is JSON where `--json` stands on the command line.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    parse_from(std::env::args_os().collect())
}

fn parse_from<C: Parser>(args: Vec<OsString>) -> Result<C, ExitCode> {
    let json = args.iter().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    C::try_parse_from(args).map_err(|error| {
        // Help and version; without any argument, help is an error already.
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ) {
            // Where nobody listens, nobody is there to be told.
            drop(error.print());
        } else {
            GlobalArgs { json, ..GlobalArgs::default() }.tell([&diagnostic(&error)]);
        }
        u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
    })
}

/// What clap says, with a code: the first paragraph is the message, tips and usage are the way out.
fn diagnostic(error: &clap::Error) -> Diagnostic {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    let message = paragraphs.next().unwrap_or("the command line cannot be read");
    let help: Vec<&str> = paragraphs.map(|paragraph| paragraph.strip_prefix("tip: ").unwrap_or(paragraph)).collect();
    let diagnostic = Diagnostic::error(code(error.kind()), message);
    if help.is_empty() { diagnostic } else { diagnostic.help(help.join("\n")) }
}

/// A stable code for scripts; it never changes its meaning.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnknownArgument => "U0201",
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => "U0202",
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 => "U0203",
        ErrorKind::MissingRequiredArgument => "U0204",
        ErrorKind::ArgumentConflict => "U0205",
        ErrorKind::NoEquals | ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            "U0206"
        }
        _ => "U0200",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::Cli;

    fn told(args: &str) -> Diagnostic {
        diagnostic(&Cli::try_parse_from(args.split_whitespace()).unwrap_err())
    }

    #[test]
    fn every_mistake_has_a_code_a_message_and_a_way_out() {
        for (args, code, message) in [
            ("tool -o x --quantiser qat", "U0201", "unexpected argument '--quantiser' found"),
            ("tool -o x --quantizer bnn", "U0203", "invalid value 'bnn' for '--quantizer <QUANTIZER>'"),
            ("tool -o x --jobs many", "U0203", "invalid value 'many' for '--jobs <N>': invalid digit found in string"),
            ("tool --json", "U0204", "the following required arguments were not provided:"),
            (
                "tool -o x --strict --allow-unmatched",
                "U0205",
                "the argument '--strict' cannot be used with '--allow-unmatched'",
            ),
        ] {
            let diagnostic = told(args);
            assert_eq!(diagnostic.code, code, "{args}");
            assert!(diagnostic.message.starts_with(message), "{args}: {}", diagnostic.message);
            let help = diagnostic.help.unwrap_or_default();
            assert!(help.contains("--help"), "{args}: {help}");
        }
        assert!(told("tool -o x --quantizer bnn").message.contains("[possible values: naive, qat, dorefa, lsq]"));
    }
}
