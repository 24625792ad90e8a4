//! Errors that both adapters pass on.

crate::errors! { ERRORS, "Every error of this crate's table, those of written files included, which both adapters say.":
since "0.1.0" {
    "C0101" "the config is not JSON5, Python's additions included", "see line and column";
    "C0102" "a key of the config does not exist", "`schema` prints every key";
    "C0103" "a value of the config has the wrong type, or is not one of the words expected", "`schema` prints the values of every key";
    "C0104" "a number of the config is out of its range", "choose one in the range that the message says";
    "C0105" "something that an entry of the config must have is missing", "add it";
    "C0106" "two things in the config exclude each other", "leave one of them";
    "C0108" "a glob of the config cannot be read", "escape the character, or name the op as a whole";
    "M0101" "a tensor has a NaN or an infinity", "exclude its op with `exclude: true`, or repair the model";
    "M0102" "a number of bits that the quantizer does not have", "choose one in the range that the message says";
    "M0103" "a range is too wide: a value of its grid would overflow float32", "exclude the op with `exclude: true`";
    "M0104" "a range is empty", "its minimum must be less than its maximum";
    "M0105" "a layout of channels does not fit the tensor's number of elements", "give the layout of the tensor's own shape";
    "M0106" "a channel axis that the tensor does not have", "count axes from 0";
    "M0107" "a tensor without elements has no range", "leave it out";
    "M0108" "a scale per channel where the quantizer has one for the tensor", "leave `per_channel` out for this quantizer";
    "M0109" "values of so many bits have no stored codes of the asked size", "choose `--emit baked`, or at most 8 bits";
    "M0110" "a range is too narrow: its step would be below the smallest normal float32", "exclude the op with `exclude: true`";
    "M0111" "scale, zero point and codes do not belong together", "take them from one range";
    "M0112" "a decay without a moving average", "choose one of more than 0 and less than 1";
    "M0113" "weights with a scale where weights of DoReFa are meant", "give a map of the DoReFa quantizer";
    "M0114" "calibration statistics of another kind than what is to be done with them", "calibrate with the observer that the config names";
    "M0115" "moving averages that forget at different rates cannot be joined", "calibrate all parts with one `ema_decay`";
    "M0116" "the counts of a histogram contradict each other", "calibrate again";
    "M0117" "more elements or batches than 64 bits count", "calibrate with less data";
    "M0118" "a label is no class of the model", "see which array has the labels, counted from 0";
    "M0119" "counts among the first k cannot join counts for another k", "count all parts with the same k";
    "M0120" "a quantizer whose codes lie on no grid, where a grid is needed", "choose naive or qat";
    "M0121" "the elements of one output have several scales", "leave `per_channel` out";
    "O0101" "the output's folder does not exist or cannot be written", "create the folder, or choose another one";
    "O0102" "the output's path is a folder, a device or another thing that is no file", "name a file, or `-` for standard output";
    "O0103" "the output's path leads to no file", "name a file";
    "O0105" "the output is a folder, and a file has its name", "name another folder, or a file that ends in `.pb`";
    "O0104" "the output could not be written; an older one is as it was", "free some space, or choose another folder";
    "P0101" "the plan is not JSON of a plan's form, or has a key that does not exist", "`plan MODEL --json` writes one, which can be edited";
    "P0102" "the plan is of another version", "`plan MODEL --json` writes one, which can be edited";
    "P0103" "the plan has a value that the quantizer or the form of output does not know", "`schema` says what the settings mean and which values they have";
    "P0104" "the plan names a site that the model does not have", "`plan MODEL --json` lists the sites of the model";
    "P0105" "the plan wants a site quantized in a way in which it cannot be", "change its settings, or leave it in float";
    "P0106" "the plan decides twice about one tensor", "leave one of the decisions";
    "R0101" "the ranges file cannot be read, or is not of this form", "docs/ranges.md describes the format";
    "R0102" "the ranges were measured on another model", "calibrate this model";
    "R0103" "there are no ranges to join, or too many samples", "name two files or more";
    "R0104" "two ranges files do not belong together", "calibrate every part of the data with the same model and the same config";
    "R0105" "a range cannot be joined without its statistics", "calibrate that part of the data again; `calibrate` keeps its statistics";
    "R0106" "statistics of a ranges file do not add up", "calibrate that part of the data again";
    "R0107" "moving averages of batches of another size", "go on with batches of the same size";
    "R0111" "the moments cannot be read, or are not of this form", "`calibrate MODEL --data D --moments FILE` makes the file";
    "R0112" "a file of moments of an unknown version", "measure again with this version";
    "R0113" "the moments of a layer are missing, or are none", "measure again";
    "R0114" "the moments were measured on another model", "measure on this model";
    "R0115" "moments that do not belong together", "join those of one model and one config";
}}
