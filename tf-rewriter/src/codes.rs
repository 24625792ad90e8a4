//! The stable codes of this crate. [`all`] is its table; the constants that both adapters say stand beside its own.

use quant_math::codes::Code;
pub use quant_math::codes::{
    ALL_ZERO, ALREADY_QUANTIZED, BITS_32, BITS_PACKED, CHANNEL_AXIS_UNKNOWN, COMPUTED_WEIGHT, LATE_START, MANY_OUTPUTS,
    NEAREST_INSTEAD, NO_ACTIVATION, NO_WEIGHT, NORM_AXIS, NORM_BEFORE_LAYER, NORM_COMPUTED, NORM_IN_LOOP, NORM_NAMED,
    NORM_NO_LAYER, NORM_NOT_FINITE, NORM_NOT_QUANTIZED, NORM_SHARED, NORM_TRAINS, NORM_WANTED, NORM_WEIGHT, NOT_FLOAT,
    NOT_TRAINED, NOT_TRIED, ROUNDING_NEEDS_VALUES, TENSOR_EMPTY, UNMATCHED, WEIGHTS_ONLY,
};

/// The codes of this crate's table.
pub fn all() -> impl Iterator<Item = &'static Code> {
    WORDS.iter().chain(ERRORS).copied()
}

quant_math::codes! { WORDS, "Every skip, warning and note of this crate's table.":
since "0.1.0" {
    // Weights.
    BACKWARD = "backward" [Skip] "the op computes gradients", "name the layer itself, and `gradient` in its `quant_types`";
    SEVERAL_WEIGHTS = "several-weights" [Skip] "the op reads one or another of several weights, as the graph runs", "choose `--emit baked` or `--emit packed`, which quantize each";
    WEIGHT_IS_LOOKED_UP = "weight-is-looked-up" [Skip] "the op looks rows up in a variable itself, before which no quantizer can stand", "freeze the model first";
    VARIABLE_UNKNOWN = "variable-unknown" [Skip] "the variable does not say a float type and a whole shape", "declare both where the graph is made";
    WEIGHT_IS_VARIABLE = "weight-is-variable" [Skip] "the weight's values are in a checkpoint, not in the graph", "freeze the model first";
    WEIGHT_IS_ARGUMENT = "weight-is-argument" [Skip] "the weight is an argument of a function whose callers are not known", "inline functions when the model is frozen";
    WEIGHT_IS_ACTIVATION = "weight-is-activation" [Skip] "where the op has its weight, it reads what is fed or changes in a loop", "quantize it as an activation: name `input` in `quant_types`";
    SPLAT_TOO_LARGE = "splat-too-large" [Skip] "a large constant in short form would take far more space written out", "set `per_channel` to `false`, or write the constant out";
    WEIGHT_IN_PIECES = "weight-in-pieces" [Skip] "the op reads a piece of the weight that is cut off in another function or loop", "choose `--emit baked` or `--emit packed`, which quantize the whole";
    WEIGHT_IN_LOOP = "weight-in-loop" [Skip] "the weight enters a loop", "choose `--emit baked` or `--emit packed`";
    NO_STEP = "no-step" [Skip] "the step counter cannot be read in a function or a loop, and `quant_start_step` needs it", "leave `quant_start_step` out for the op, or inline functions first";
    NOT_FLOAT32 = "not-float32" [Skip] "the framework's fake-quant ops take float32 only", "choose `--emit baked` for weights, or give the model in float32";
    SHARED_ACROSS_FUNCTIONS = "shared-across-functions" [Skip] "others read the weight too, and on its way through functions its shape changes", "choose all of its readers, with the same settings";
    // Activations.
    OP_TYPE_UNKNOWN = "op-type-unknown" [Skip] "which tensors of an op of this type are activations is not known", "quantize the tensor at an op of a known type before or behind it";
    CONSTANT_INPUT = "constant-input" [Skip] "a bias or another constant is no activation", "nothing is to be done";
    CONSTANT_OUTPUT = "constant-output" [Skip] "the output is computed from constants alone", "nothing is to be done";
    UNUSED = "unused" [Skip] "nothing reads the output", "nothing is to be done";
    BOOKKEEPING = "bookkeeping" [Skip] "the value goes to assignments, savers and summaries alone", "name it with `--outputs` if it is a result of the model";
    NO_STATE = "no-state" [Skip] "functions and loops cannot hold the variables of a range or a step, and gradients in them are not found", "inline functions first, or choose `--emit inference`";
    NOT_MEASURED = "not-measured" [Skip, Warning] "what is in a function or a loop cannot be fetched to measure a range", "write its range into the ranges file, or inline functions first";
    // Gradients.
    GRADIENT_NEEDS_TRAINING = "gradient-needs-training" [Skip] "gradients exist only while training", "choose `--emit training`";
    GRADIENT_OP_TYPE = "gradient-op-type" [Skip] "gradients of ops of this type are not quantized", "leave `gradient` out for the op";
    GRADIENT_NOT_THERE = "gradient-not-there" [Skip] "the graph has no op that makes the gradient", "build the gradients (`tf.gradients`) into the graph before it is quantized";
    GRADIENT_AMBIGUOUS = "gradient-ambiguous" [Skip] "the backward ops fit more than one layer", "give the op an input or a weight of its own";
    // Constants that do not become variables.
    NO_GRADIENT = "no-gradient" [Skip] "an op on the way passes no gradient in TensorFlow's C API", "train in Python, or leave the constant as it is";
    BEHIND_NO_GRADIENT = "behind-no-gradient" [Skip] "the gradient would pass through an op that has none in TensorFlow's C API", "train in Python, or leave the constant as it is";
    COMPUTED = "computed" [Skip] "a vector behind an op is computed from constants in a way that is no batch normalization's", "fold constants when the model is frozen";
    IN_LOOP = "in-loop" [Skip] "a loop cannot hold a variable", "unroll the loop where the graph is made";
    // Warnings and notes.
    CONSTANT_WEIGHTS = "constant-weights" [Warning] "every weight of the training graph is a constant, which an optimizer does not change", "`finetune` makes variables of the weights and trains them";
    LEFT_OUT = "left-out" [Warning] "the model takes a fixed number of samples at once, and the last ones do not fill it", "give a multiple of that number";
    UNTRAINED = "untrained" [Warning] "training made the model no better, and the untrained one is written", "try a smaller `--lr`, more data, or another `--loss`";
    // What is done before anything is planned.
    FUNCTIONS_INLINED = "functions-inlined" [Note] "calls of functions were inlined", "nothing is to be done";
    VARIABLES_FROZEN = "variables-frozen" [Note] "variables are constants with the values of the checkpoint", "nothing is to be done";
    TABLES = "tables" [Note] "the graph has lookup tables, which a node of it fills", "run that node before anything else, as a SavedModel's loader does";
    OBJECTS_LEFT_OUT = "objects-left-out" [Note] "the SavedModel is one graph with its signatures, without Python's objects", "choose `--emit baked`, which keeps them";
    EFFECTS_LEFT_OUT = "effects-left-out" [Note] "ops that only print, check or count, which no output needs, are not in the graph", "nothing is to be done";
    BEST_EPOCH = "best-epoch" [Note] "the model of the epoch that was best is written", "nothing is to be done";
}}

quant_math::errors! { ERRORS, "Every error of this crate's table.":
since "0.1.0" {
    "E0101" "the operating system refused to read or write", "see its answer";
    "E0102" "the file is no GraphDef", "the message says what the file is and what to do with it";
    "E0103" "the graph is longer than a protobuf message may be", "keep the weights in a SavedModel's checkpoint instead of freezing them";
    "E0104" "the graph asks for much more memory than it is long", "if the file is trusted, lift the limit with `--memory-limit`";
    "E0105" "the file changed while it was read; nothing that was made from it is kept", "run again when nobody writes the file";
    "E0201" "bytes that are no protobuf message", "the file is damaged or was cut off; copy it again from its source";
    "E0202" "two nodes have one name", "rename one of them where the graph is made";
    "E0203" "a node reads what is not in the graph", "freeze the whole model, not a part of it";
    "E0204" "a node depends on itself", "only `NextIteration` may close a loop";
    "E0205" "two functions have one name", "rename one of them where the graph is made";
    "E0206" "a node reads data after a control edge", "put `^` inputs last where the graph is made";
    "E0301" "shape, type and payload of a tensor contradict each other", "freeze the model again";
    "E0401" "the text is no GraphDef in text form", "see line and column";
    "E0402" "a field has no name in the text form, and would be lost", "write the binary form (`.pb`)";
    "E0501" "the form of output does not exist for this request", "the message says what can be had instead";
    "E0502" "activations have no range", "measure them, or choose `--emit training`";
    "E0503" "the ranges file is damaged, or was made for another model", "measure ranges on this model";
    "E0504" "the plan was made for another graph", "make the plan again from this file";
    "E0505" "there is no node of that name", "`inspect MODEL` lists the graph's inputs and outputs";
    "E0506" "the config is for another quantizer", "call the quantizer that the config names";
    "E0507" "the graph was not made by `--emit training`", "make one with `compress --emit training`, and train it";
    "E0508" "weights are to be rounded by reconstruction, and there are no moments of what their layers read", "measure them with `calibrate --moments FILE`, and give them with `--moments FILE`";
    "E0601" "the written graph failed its check and was discarded", "report it as a defect of tf-rewriter";
    "E0701" "no checkpoint, or one of a kind that is not read", "the message says what was expected";
    "E0702" "the checkpoint has no tensor of that name", "give a checkpoint of this very graph";
    "E0703" "the checkpoint has no value for some variables of the graph", "save all variables of the training graph, those that quantization added included";
    "E0704" "the graph reads a part of a tensor that the checkpoint's tensor does not have", "give a checkpoint of this very graph";
    "E0705" "the values that are written for a tensor do not fit it", "the message says what was expected";
    "E0801" "TensorFlow's library was not found", "`tf-rewriter doctor` shows every place that is looked at, and how to install it";
    "E0802" "the library is none of TensorFlow's that can be used", "name another folder with `--tensorflow-dir`";
    "E0803" "TensorFlow refused or failed", "see its answer";
    "E0804" "a data file cannot be read, or is something else", "the message says what was expected";
    "E0805" "data and model, or options, do not fit together", "the message says what can be done";
    "E0806" "interrupted work cannot be taken up", "run without `--resume` to begin anew";
    "E0807" "the operating system refused to read or write a file of a run", "see its answer";
    "E0808" "a variable that an output needs has no value in the graph", "freeze the model first";
    "E0901" "no SavedModel or MetaGraph of a kind that is read", "the message says what was found and what to do";
    "E0902" "no meta graph, or several, are for the tags that were asked for", "choose one with `--tags`";
    "E0903" "there is no signature of that name, or several could be meant", "choose one with `--signature`; a model that has none takes `--outputs`";
    "E0904" "a node cannot be frozen: it writes variables, or needs state that is in no file", "choose a signature that only reads variables";
    "E0905" "a function calls itself, or calls too deep", "make the model again without it";
    "U0105" "the quantizer is not trained", "train with `qat`, `dorefa` or `lsq`";
}}
