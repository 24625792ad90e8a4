//! Skips and warnings that both adapters say, and those of a config.

crate::codes! { WORDS, "Every skip, warning and note of this crate's table.":
since "0.1.0" {
    // Skips.
    NOT_SELECTED = "not-selected" [Skip] "no entry of the config, or of the plan, chooses this tensor", "name its op or its type in `op_names` or `op_types`, and the kind of tensor in `quant_types`";
    EXCLUDED = "excluded" [Skip] "an entry of the config excludes the op", "take `exclude` out of that entry";
    TAKEN_AWAY = "kind-taken-away" [Skip, Warning] "the entry that decides about the op does not name this kind of tensor, and an earlier one does", "name the kind in the `quant_types` of the last entry that matches, which decides whole";
    ALREADY_QUANTIZED = "already-quantized" [Skip] "an earlier run or the framework has quantized it", "begin with the float model";
    NO_WEIGHT = "no-weight" [Skip] "the op has no weight", "nothing is to be done";
    NO_ACTIVATION = "no-activation" [Skip] "the op reads no activation", "quantize the output of the op that makes the tensor";
    MANY_OUTPUTS = "many-outputs" [Skip] "the op makes more than one tensor, or which of them is read is not known", "quantize the input of the op that reads the tensor";
    WEIGHTS_ONLY = "weights-only" [Skip] "the form of output quantizes weights only", "choose `--emit inference` or `--emit training`";
    BITS_32 = "bits-32" [Skip] "32 bits leave the tensor as it is", "choose fewer bits, or leave the tensor out of the config";
    BITS_PACKED = "bits-packed" [Skip] "codes of more than 8 bits are not packed; the weight is float", "choose `--emit baked`, or train with at most 8 bits";
    NOT_FLOAT = "not-float" [Skip] "the tensor's elements are of a type that is not quantized", "give the model with weights of float16, bfloat16, float32 or float64";
    TENSOR_EMPTY = "tensor-empty" [Skip] "the tensor has no elements", "nothing is to be done";
    COMPUTED_WEIGHT = "computed-weight" [Skip] "the weight is no constant or parameter but computed from some", "fold constants when the model is frozen (`torch.jit.freeze` does)";
    CHANNEL_AXIS_UNKNOWN = "channel-axis-unknown" [Skip] "which axis of the weight is its channels cannot be told", "set `per_channel` to `false` or `\"auto\"` for the op";
    ROUNDING_NEEDS_VALUES = "rounding-needs-values" [Skip] "no op of the framework truncates", "choose `--emit baked` or `--emit packed`, which hold truncated values, or `rounding: \"nearest\"`";
    NEAREST_INSTEAD = "nearest-instead" [Warning] "a weight that was to be rounded by reconstruction is rounded to nearest", "the message says what stands against it; `rounding: \"nearest\"` for its op says that it is meant";
    NOT_BEGUN = "not-begun" [Skip, Warning] "the training ended before the site's quantization began, or never ran through it", "train for more steps, or set a smaller `quant_start_step`";
    ALL_ZERO = "all-zero" [Skip] "all elements of a weight are 0 and stay so", "nothing is to be done";
    // Batch normalizations that stay.
    NORM_PER_TENSOR = "norm-per-tensor" [Skip] "the layer's weight has one scale for all channels, which fits a folded weight worse", "set `per_channel` to `true` or `\"auto\"` for the layer, or fold all the same with `--fold on`";
    NORM_NOT_QUANTIZED = "norm-not-quantized" [Skip] "the layer's weight stays float, and folding would gain nothing", "quantize the layer's weight, or fold all the same with `--fold on`";
    NORM_NAMED = "norm-named" [Skip] "the config names a part of the batch normalization, which would be gone", "take it out of the config, or fold all the same with `--fold on`";
    NORM_NO_LAYER = "norm-no-layer" [Skip] "the batch normalization stands behind no layer that could take it: an activation, a pool or a sum is between, or there is none", "nothing is to be done";
    NORM_BEFORE_LAYER = "norm-before-layer" [Skip] "the batch normalization stands before a layer, where its shift would be missing at a padded border", "nothing is to be done";
    NORM_SHARED = "norm-shared" [Skip] "something else reads what is between the layer and the end of the batch normalization", "nothing is to be done";
    NORM_WANTED = "norm-wanted" [Skip] "a tensor between the layer and the end of the batch normalization is an output of the model", "take it out of `--outputs` if nobody fetches it";
    NORM_TRAINS = "norm-trains" [Skip] "the batch normalization is in training mode: it normalizes by the statistics of each batch", "freeze the model for inference";
    NORM_COMPUTED = "norm-computed" [Skip] "parameters of the batch normalization are no constants of its own: variables, fed, or shared", "freeze the model first";
    NORM_AXIS = "norm-axis" [Skip] "the channels of the batch normalization are not those of the layer, or what is between mixes them", "nothing is to be done";
    NORM_IN_LOOP = "norm-in-loop" [Skip] "the batch normalization is in a function or a loop", "inline functions when the model is frozen";
    NORM_NOT_FINITE = "norm-not-finite" [Skip] "a factor or a shift of the batch normalization is infinite or no number", "look at its variance: it must not be negative";
    NORM_WEIGHT = "norm-weight" [Skip] "the weight or bias of the layer is no constant of a float type that can be changed for it alone", "freeze the model first, and begin with the float model";
    // Warnings.
    LATE_START = "late-start" [Warning] "quantization begins at a late step: a training of no more steps leaves sites in float", "train for more steps, or set a smaller `quant_start_step`";
    NOT_TRAINED = "not-trained" [Warning] "a tensor of the model cannot be trained and stays as it is", "begin with a model in which it is a parameter or variable of float32, through which gradients pass";
    DOREFA_RESCALES = "dorefa-rescales" [Warning] "DoReFa rescales weights to [−1, 1], which costs a model accuracy that was not trained with it", "train with `--emit training`, or choose `naive` or `qat`";
    CHANNELS_DIFFER = "channels-differ" [Warning] "one scale serves channels with very different ranges", "set `per_channel` to `true`";
    LOW_SQNR = "low-sqnr" [Warning] "quantization noise has more than a hundredth of the signal's power", "give those weights more bits, or a scale per channel";
    NOT_TRIED = "not-tried" [Warning] "`sensitivity` leaves the site in float: it is an activation, or a weight that cannot be exchanged while the model runs, as one in a function or a loop of a graph", "measure what `compress` makes of it with `evaluate`";
    // What is done before anything is planned.
    NORMS_FOLDED = "norms-folded" [Note] "batch normalizations are in the weights and biases of the layers before them", "`--fold off` leaves them where they are";
    // About the config.
    UNMATCHED = "C0107" [Warning, Error] "a part of the config matches nothing in the model; an error with `--strict`", "`inspect` shows the names and types of a model";
    NO_EFFECT = "C0109" [Warning, Error] "a key of the config has no effect; an error with `--strict`", "take the key out, or choose the quantizer that reads it";
    NO_ENTRY_MATCHES = "C0110" [Warning, Error] "no entry of the config matches an op of the model; a warning with `--allow-unmatched`", "`inspect` shows the names and types of a model";
}}
