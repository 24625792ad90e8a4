//! The stable codes of this crate. [`all`] is its table; the constants that both adapters say stand beside its own.

use quant_math::codes::Code;
pub use quant_math::codes::{
    ALL_ZERO, ALREADY_QUANTIZED, BITS_32, BITS_PACKED, CHANNEL_AXIS_UNKNOWN, COMPUTED_WEIGHT, MANY_OUTPUTS,
    NO_ACTIVATION, NO_WEIGHT, NORM_AXIS, NORM_BEFORE_LAYER, NORM_COMPUTED, NORM_NO_LAYER, NORM_NOT_FINITE,
    NORM_NOT_QUANTIZED, NORM_PER_TENSOR, NORM_SHARED, NORM_TRAINS, NORM_WEIGHT, NOT_FLOAT, NOT_TRAINED, NOT_TRIED,
    ROUNDING_NEEDS_VALUES, TENSOR_EMPTY, UNMATCHED, WEIGHTS_ONLY,
};

/// The codes of this crate's table.
pub fn all() -> impl Iterator<Item = &'static Code> {
    WORDS.iter().chain(ERRORS).copied()
}

quant_math::codes! { WORDS, "Every skip and warning of this crate's table.":
since "0.1.0" {
    // Weights.
    TENSOR_EXPANDED = "tensor-expanded" [Skip] "the tensor is an expanded view: several of its elements are one in memory", "make it contiguous before the model is saved";
    TENSOR_GAPS = "tensor-gaps" [Skip] "the tensor is a view with gaps: its memory holds other data too", "make it contiguous before the model is saved";
    TENSOR_ASSIGNED = "tensor-assigned" [Skip] "the code assigns the attribute that holds the weight", "choose `--emit baked`";
    TENSOR_IN_LIST = "tensor-in-list" [Skip] "a list holds the weight too, whose type cannot be written out", "choose `--emit baked`";
    CLASS_INSTANTIATED = "class-instantiated" [Skip] "the code makes objects of the class, which would lack what the quantized tensor needs", "choose `--emit baked`";
    OBJECTS_IN_LIST = "objects-in-list" [Skip] "objects of the class stand in a list or dictionary, and all of them run the same text", "choose `--emit baked`";
    OPAQUE_STATE = "opaque-state" [Skip] "an object packs its state in its own `__getstate__`", "save the model without it";
    PREPACKED = "prepacked" [Skip] "the weight is in a form of XNNPACK's own", "give the archive from before `optimize_for_mobile`";
    LOW_RANK_SUM = "low-rank-sum" [Skip] "the weight plus a product of others, as LoRA adds it, is computed in every pass", "add it into the weight and save the model again, or freeze it with `torch.jit.freeze`";
    SHARED_TEXT = "shared-text" [Skip] "one line of code runs with several weights, or hands one weight to calls that want it otherwise", "choose `--emit baked`, or the same settings for all";
    SHARED_IN_PLACE = "shared-in-place" [Skip] "something else reads the weight's bytes too, and no module could hold a copy", "choose all of its readers, with the same settings";
    UNKNOWN_CALL = "unknown-call" [Skip] "the module uses its weight in no call that is known", "nothing is to be done";
    NEVER_RUNS = "never-runs" [Skip] "no method of the root runs the module", "nothing is to be done";
    SETTINGS_UNKNOWN = "settings-unknown" [Skip] "the settings of a trained quantizer are none that torch-adapter writes; it stays", "leave the quantizer's buffers and code as `compress` wrote them";
    // Activations.
    LIST_INPUT = "list-input" [Skip] "the op reads a list that is made elsewhere", "quantize the outputs of the ops that make its parts";
    ELEMENTS_UNKNOWN = "elements-unknown" [Skip] "nothing in the code says that the op works on floats", "quantize the tensor at another op";
    FREE_FUNCTION = "free-function" [Skip] "it stands in a free function, whose text serves all its callers and which has no module", "make it a method of a module, or choose `--emit baked` for weights";
    NO_MODULE = "no-module" [Skip] "it stands in an object that is no module, whose parameters training does not reach", "make the class an `nn.Module`, or choose `qat`";
    FUSED = "fused" [Skip] "the op happens inside another call, which gives its tensor to nobody", "quantize the input or the output of that call";
    IN_PLACE = "in-place" [Skip] "a call writes into the tensor, which is read again", "use the form of the call that makes a new tensor";
    // Warnings.
    WEIGHT_BYPASSED = "weight-bypassed" [Warning] "the weight is also read in modules that cannot reach its quantizer, and float there", "read the weight in one module where the model is made";
    WEIGHT_COPIED = "weight-copied" [Warning] "the op gets a quantized copy of a weight that others read in float", "choose all of its readers to have one weight";
    BYTECODE_DROPPED = "bytecode-dropped" [Warning] "the mobile interpreter's bytecode is float and was left out", "load the result with `torch.jit.load`, and make it mobile again with `_save_for_lite_interpreter`";
    CODE_CUT = "code-cut" [Warning] "the code calls deeper than is followed; what lies beyond is left in float", "freeze the model with `torch.jit.freeze`, which inlines calls";
    REACHES_OUTSIDE = "reaches-outside" [Warning] "the model's code calls what reaches outside of the model", "load the model only if you trust it";
    NOT_REACHED = "not-reached" [Warning] "no sample reached the activation while the model was calibrated: it has no range", "give data that takes every way through the model";
    MARK_UNKNOWN = "mark-unknown" [Warning] "the record of an earlier run is not one of this version and is not looked at", "begin with the float model";
}}

quant_math::errors! { ERRORS, "Every error of this crate's table.":
since "0.1.0" {
    "T0001" "the operating system refused to read or write", "see its answer";
    "T0002" "the archive asks for much more memory than it is long", "if the file is trusted, lift the limit with `--memory-limit`";
    "T0003" "the file changed while it was read; nothing that was made from it is kept", "run again when nobody writes the file";
    "T0101" "the file is no TorchScript archive", "the message says what the file is and what to do with it";
    "T0102" "the file ends too early", "it is damaged or was cut off; copy it again from its source";
    "T0103" "the archive's directory has no end", "the file is damaged or was cut off; copy it again from its source";
    "T0104" "bytes follow the end of the archive", "do not trust the file, or save it again with torch";
    "T0105" "the archive's directory contradicts itself", "do not trust the file, or save it again with torch";
    "T0106" "a header of the archive has another signature", "the file is damaged or was cut off; copy it again from its source";
    "T0107" "a name that no record may have", "do not trust the file, or save it again with torch";
    "T0108" "two records have one name", "do not trust the file, or save it again with torch";
    "T0109" "two records share bytes", "do not trust the file, or save it again with torch";
    "T0110" "a record is encrypted", "save the model again with torch";
    "T0111" "a record is compressed by another method than deflate", "save the model again with torch";
    "T0112" "a record's header contradicts the directory", "do not trust the file, or save it again with torch";
    "T0113" "a record's data does not have its checksum", "the file is damaged; copy it again from its source";
    "T0114" "deflated data does not hold what the directory says", "the file is damaged or was cut off; copy it again from its source";
    "T0115" "a record inflates to too much", "if the file is trusted, lift the limit that the message names";
    "T0116" "a record that every archive has is missing", "save the model again with `torch.jit.save`";
    "T0117" "a file format version that does not exist", "save the model with a PyTorch of 1.x or 2.x";
    "T0118" "tensors are in another byte order", "save the model on a little-endian machine";
    "T0119" "a record of text is not UTF-8", "do not trust the file, or save it again with torch";
    "T0120" "a change does not fit the archive", "see the message; a program asked for it";
    "T0201" "a pickle ends too early", "save the model again with `torch.jit.save`";
    "T0202" "a pickle of another protocol than 2", "do not trust the file, or save it again with torch";
    "T0203" "a pickle has an instruction that torch.jit.save never writes", "do not trust the file, or save it again with torch";
    "T0204" "a pickle names a global that is no class of the archive", "do not trust the file, or save it again with torch";
    "T0205" "an instruction of a pickle has other operands than it needs", "save the model again with `torch.jit.save`";
    "T0206" "a pickle refers to a value that is not there", "save the model again with `torch.jit.save`";
    "T0207" "values of a pickle are nested too deep", "if the file is trusted, lift the limit that the message names";
    "T0208" "a pickle has too many instructions", "if the file is trusted, lift the limit that the message names";
    "T0209" "a pickle is longer than 4 GiB", "save the model again with `torch.jit.save`";
    "T0210" "a text of a pickle is not UTF-8", "save the model again with `torch.jit.save`";
    "T0211" "a pickle ends with other than one value", "save the model again with `torch.jit.save`";
    "T0212" "bytes follow the end of a pickle", "save the model again with `torch.jit.save`";
    "T0213" "a pickle changes a value that was referred to", "save the model again with `torch.jit.save`";
    "T0214" "an attribute stands twice in one object", "save the model again with `torch.jit.save`";
    "T0215" "a pickle holds something else than its record needs", "save the model again with `torch.jit.save`";
    "T0216" "a change does not fit the pickle", "see the message; a program asked for it";
    "T0217" "objects take much more memory than their pickle", "if the file is trusted, lift the limit with `--memory-limit`";
    "T0301" "a tensor lies in a record that is not in the archive", "save the model again with `torch.jit.save`";
    "T0302" "a record is not as long as its storage", "save the model again with `torch.jit.save`";
    "T0303" "one record is read as two kinds of storage", "do not trust the file";
    "T0304" "a size, stride or offset is negative", "do not trust the file";
    "T0305" "a tensor reaches beyond its storage", "do not trust the file";
    "T0401" "class text that torch.jit.save does not write", "save the model again with `torch.jit.save`";
    "T0402" "class text and pickle contradict each other", "save the model again with `torch.jit.save`";
    "T0501" "the form of output does not exist for this request", "the message says what can be had instead";
    "T0502" "activations have no range", "measure them with `calibrate`, or choose `--emit training`";
    "T0503" "the ranges file was made for another model", "measure ranges on this model";
    "T0504" "the plan was made for another model", "make the plan again from this file";
    "T0505" "TorchScript cannot hold quantized gradients", "quantize weights, inputs and outputs here, and gradients in Python";
    "T0506" "the config is for another quantizer", "call the quantizer that the config names";
    "T0507" "the model has no quantizers to freeze", "make one with `compress --emit training`, and train it";
    "T0508" "the archive measures its activations, for calibration", "give the archive that it was made from";
    "T0509" "the archive does not measure its activations", "make one with `calibrate --emit observe`, and run data through it";
    "T0601" "the written archive failed its check and was discarded", "report it as a defect of torch-adapter";
    "T0801" "no Python with PyTorch was found", "install PyTorch, or name an interpreter that has it with `--python`; `doctor` shows where it is looked for";
    "T0802" "Python ended before it was done", "see its last words; `calibrate` goes on with `--resume`";
    "T0803" "PyTorch refused or failed", "see its answer; give data of the shape and type that the model takes";
    "T0804" "a data file cannot be read, or is something else", "give what `numpy.savez` or `numpy.save` write";
    "T0805" "data, model and options do not fit together", "the message says what is missing or too much";
    "T0806" "interrupted work cannot be taken up", "run without `--resume` to begin anew";
    "T0807" "the operating system refused to read or write a file of a run", "see its answer";
    "T0808" "an activation became NaN or infinite while the archive ran", "leave those samples out, or the op, with `exclude: true`";
}}
