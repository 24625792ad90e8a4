//! NNI `config_list`: parse, validate, select.
