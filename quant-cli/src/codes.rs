//! The stable codes of the command line. [`all`] is this crate's table.

use quant_math::codes::Code;

/// The codes of this crate's table.
pub fn all() -> impl Iterator<Item = &'static Code> {
    WARNINGS.iter().chain(ERRORS).copied()
}

quant_math::codes! { WARNINGS, "Every warning of this crate's table.":
since "0.1.0" {
    NOTHING_TO_RESUME = "nothing-to-resume" [Warning] "no interrupted run left anything behind: the work begins anew", "nothing is to be done";
    ORDER_MATTERS = "R0201" [Warning] "a moving average depends on the order of the samples: the result is that of one run over the files as they are listed", "list the files in the order of their samples";
}}

quant_math::errors! { ERRORS, "Every error of this crate's table.":
since "0.1.0" {
    "B0101" "no mix of bits keeps to what was asked for", "allow more, give more bits, or quantize in a better way";
    "B0102" "the model does not get so small with these bits", "give fewer bits, or allow more bytes";
    "B0103" "no output of the model has classes, of which a drop could be told", "say with `--min-sqnr` how near the outputs must stay";
    "B0104" "the bits that were found cannot be said in a config", "choose other sites in the config";
    "B0105" "how large the file will be is not known before it is written", "write another kind of file; the message names one";
    "O0001" "standard input or output cannot be read or written", "see the system's answer";
    "U0101" "no quantizer is named", "give `--quantizer`, or a `--config` that names one";
    "U0102" "the config cannot be read", "see the cause";
    "U0103" "standard output is a terminal, and a model is no text", "write to a file with `-o OUT`, or into a pipe";
    "U0104" "so many threads cannot be had", "leave `--jobs` away: one thread per core";
    "U0106" "one file of the command would take the place of another", "choose another name";
    "U0107" "the plan cannot be read", "see the cause";
    "U0200" "the command line is wrong in another way", "`--help` shows the options";
    "U0201" "an option does not exist", "`--help` shows the options";
    "U0202" "a command does not exist, or none is named", "`--help` shows the commands";
    "U0203" "an option has a value that it does not take", "`--help` shows the values";
    "U0204" "something that the command needs is not given", "give what the message names";
    "U0205" "two options exclude each other", "leave one of them";
    "U0206" "an option has too many values or too few", "`--help` shows the options";
    "V0101" "a quantized model is not what its original and the settings come to", "give the config, ranges and options that it was made with, or make it anew";
    "V0102" "the quantized model cannot be read", "see the system's answer";
}}
