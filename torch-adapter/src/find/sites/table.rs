//! Which calls and modules can be quantized: one row each.

/// Where the weight of an op lies and how its output channels run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightRule {
    /// One tensor; channels along the axis.
    Tensor {
        /// Position of the argument.
        argument: usize,
        /// Axis of the output channels.
        axis: usize,
    },
    /// `_convolution`: the argument at `transposed` says whether channels run along axis 1.
    Convolution {
        /// Position of the flag.
        transposed: usize,
    },
    /// A matrix product of these two arguments: whichever is a parameter. Behind `torch.t` channels run along axis 0.
    Product {
        /// Position of the left factor.
        left: usize,
        /// Position of the right factor.
        right: usize,
    },
    /// A list of tensors; those of rank 2 and more are weights, channels along axis 0.
    List {
        /// Position of the argument; with a packed sequence the list comes one later.
        argument: usize,
    },
    /// These tensors; channels along axis 0.
    Tensors(&'static [usize]),
    /// An equation, then a list of operands: those that are parameters.
    Einsum,
    /// A weight at this position that torch keeps in a form of its own.
    Packed(usize, Keeper),
    /// Arithmetic on the tensors at these positions, or in the list there, as far as they are activations.
    Operands(&'static [usize]),
    /// A fused op that takes these tensors without their modules; channels along axis 0.
    Fused(&'static [usize]),
    /// No weight: an activation.
    None,
}

/// What keeps a packed weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Operators of XNNPACK, made by `optimize_for_mobile`.
    Prepacked,
    /// torch's own integer kernels.
    Quantized,
}

/// A call that can be quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRule {
    /// The callee as the text has it.
    pub call: &'static str,
    /// The op's type, for `op_types`; a number of dimensions is put for `#`.
    pub op_type: &'static str,
    /// The weight.
    pub weight: WeightRule,
    /// Positions of the float tensors that the op reads besides the weight.
    pub inputs: &'static [usize],
    /// Whether the call's value is one float tensor.
    pub output: bool,
    /// Whether ops of this kind belong to `default`.
    pub default: bool,
}

const fn weighted(call: &'static str, op_type: &'static str, axis: usize) -> CallRule {
    let weight = WeightRule::Tensor { argument: 1, axis };
    CallRule { call, op_type, weight, inputs: &[0], output: true, default: true }
}

const fn product(call: &'static str, left: usize, right: usize) -> CallRule {
    let weight = WeightRule::Product { left, right };
    CallRule { call, op_type: "Linear", weight, inputs: &[], output: true, default: true }
}

const fn recurrent(call: &'static str, op_type: &'static str) -> CallRule {
    let weight = WeightRule::List { argument: 2 };
    CallRule { call, op_type, weight, inputs: &[0], output: false, default: false }
}

const fn cell(call: &'static str, op_type: &'static str, output: bool) -> CallRule {
    let weight = WeightRule::Tensors(&[2, 3]);
    CallRule { call, op_type, weight, inputs: &[0], output, default: false }
}

const fn batched(call: &'static str, left: usize, right: usize) -> CallRule {
    CallRule { op_type: BATCHED, default: false, ..product(call, left, right) }
}

const fn arithmetic(call: &'static str, op_type: &'static str) -> CallRule {
    let inputs = &[0, 1];
    CallRule { call, op_type, weight: WeightRule::Operands(inputs), inputs, output: true, default: false }
}

const fn of_list(call: &'static str, op_type: &'static str) -> CallRule {
    let inputs = &[0];
    CallRule { call, op_type, weight: WeightRule::Operands(inputs), inputs, output: true, default: false }
}

const fn packed(call: &'static str, op_type: &'static str, keeper: Keeper) -> CallRule {
    CallRule { call, op_type, weight: WeightRule::Packed(1, keeper), inputs: &[], output: false, default: true }
}

const fn prepacked(call: &'static str, op_type: &'static str) -> CallRule {
    packed(call, op_type, Keeper::Prepacked)
}

const fn quantized(call: &'static str, op_type: &'static str) -> CallRule {
    packed(call, op_type, Keeper::Quantized)
}

const fn fused(call: &'static str, weights: &'static [usize]) -> CallRule {
    CallRule { call, op_type: "Linear", weight: WeightRule::Fused(weights), inputs: &[], output: false, default: true }
}

const fn activation(call: &'static str, op_type: &'static str) -> CallRule {
    CallRule { call, op_type, weight: WeightRule::None, inputs: &[0], output: true, default: false }
}

/// The type of products of batches of matrices, and of two activations.
pub(super) const BATCHED: &str = "bmm";

/// The table. Argument positions are those of the schemas in `aten/src/ATen/native/native_functions.yaml` (1.13) and of
/// `torch/nn/functional.py`.
pub const CALLS: &[CallRule] = &[
    weighted("torch.conv1d", "Conv1d", 0),
    weighted("torch.conv2d", "Conv2d", 0),
    weighted("torch.conv3d", "Conv3d", 0),
    weighted("torch.conv_transpose1d", "ConvTranspose1d", 1),
    weighted("torch.conv_transpose2d", "ConvTranspose2d", 1),
    weighted("torch.conv_transpose3d", "ConvTranspose3d", 1),
    weighted("torch._convolution_mode", "Conv#d", 0),
    CallRule { weight: WeightRule::Convolution { transposed: 6 }, ..weighted("torch._convolution", "Conv#d", 0) },
    CallRule { weight: WeightRule::Convolution { transposed: 6 }, ..weighted("torch.convolution", "Conv#d", 0) },
    weighted("torch.linear", "Linear", 0),
    product("torch.matmul", 0, 1),
    product("torch.mm", 0, 1),
    product("torch.addmm", 1, 2),
    product("torch.addmm_", 1, 2),
    batched("torch.bmm", 0, 1),
    batched("torch.baddbmm", 1, 2),
    batched("torch.baddbmm_", 1, 2),
    CallRule {
        call: "torch.einsum",
        op_type: "Einsum",
        weight: WeightRule::Einsum,
        inputs: &[1],
        output: true,
        default: false,
    },
    CallRule {
        weight: WeightRule::Tensor { argument: 2, axis: 0 },
        inputs: &[0, 1],
        ..weighted("torch.bilinear", "Bilinear", 0)
    },
    CallRule {
        weight: WeightRule::Tensor { argument: 0, axis: 0 },
        inputs: &[],
        ..weighted("torch.embedding", "Embedding", 0)
    },
    CallRule {
        weight: WeightRule::Tensor { argument: 0, axis: 0 },
        inputs: &[],
        output: false,
        ..weighted("torch.embedding_bag", "EmbeddingBag", 0)
    },
    CallRule { inputs: &[], ..weighted("__torch__.torch.nn.functional.embedding", "Embedding", 0) },
    CallRule { inputs: &[], ..weighted("__torch__.torch.nn.functional.embedding_bag", "EmbeddingBag", 0) },
    recurrent("torch.lstm", "LSTM"),
    recurrent("torch.gru", "GRU"),
    recurrent("torch.rnn_tanh", "RNN"),
    recurrent("torch.rnn_relu", "RNN"),
    cell("torch.lstm_cell", "LSTMCell", false),
    cell("torch.gru_cell", "GRUCell", true),
    cell("torch.rnn_tanh_cell", "RNNCell", true),
    cell("torch.rnn_relu_cell", "RNNCell", true),
    prepacked("ops.prepacked.conv2d_clamp_run", "Conv2d"),
    prepacked("ops.prepacked.conv2d_transpose_clamp_run", "ConvTranspose2d"),
    prepacked("ops.prepacked.linear_clamp_run", "Linear"),
    quantized("ops.quantized.conv1d", "Conv1d"),
    quantized("ops.quantized.conv1d_relu", "Conv1d"),
    quantized("ops.quantized.conv1d_dynamic", "Conv1d"),
    quantized("ops.quantized.conv2d", "Conv2d"),
    quantized("ops.quantized.conv2d_relu", "Conv2d"),
    quantized("ops.quantized.conv2d_dynamic", "Conv2d"),
    quantized("ops.quantized.conv3d", "Conv3d"),
    quantized("ops.quantized.conv3d_relu", "Conv3d"),
    quantized("ops.quantized.conv3d_dynamic", "Conv3d"),
    quantized("ops.quantized.conv_transpose1d", "ConvTranspose1d"),
    quantized("ops.quantized.conv_transpose2d", "ConvTranspose2d"),
    quantized("ops.quantized.conv_transpose3d", "ConvTranspose3d"),
    quantized("ops.quantized.linear", "Linear"),
    quantized("ops.quantized.linear_relu", "Linear"),
    quantized("ops.quantized.linear_dynamic", "Linear"),
    quantized("ops.quantized.linear_relu_dynamic", "Linear"),
    quantized("ops.quantized.linear_dynamic_fp16", "Linear"),
    CallRule {
        weight: WeightRule::Packed(2, Keeper::Quantized),
        default: false,
        ..quantized("torch.quantized_lstm", "LSTM")
    },
    CallRule {
        weight: WeightRule::Packed(2, Keeper::Quantized),
        default: false,
        ..quantized("torch.quantized_gru", "GRU")
    },
    fused("torch._native_multi_head_attention", &[5, 7]),
    fused("torch._transformer_encoder_layer_fwd", &[3, 5, 14, 16]),
    arithmetic("torch.add", "Add"),
    arithmetic("torch.add_", "Add"),
    arithmetic("torch.sub", "Sub"),
    arithmetic("torch.sub_", "Sub"),
    arithmetic("torch.rsub", "Sub"),
    arithmetic("torch.mul", "Mul"),
    arithmetic("torch.mul_", "Mul"),
    arithmetic("torch.div", "Div"),
    arithmetic("torch.div_", "Div"),
    arithmetic("torch.true_divide", "Div"),
    arithmetic("torch.true_divide_", "Div"),
    arithmetic("torch.maximum", "Maximum"),
    arithmetic("torch.minimum", "Minimum"),
    of_list("torch.cat", "Concat"),
    of_list("torch.concat", "Concat"),
    of_list("torch.concatenate", "Concat"),
    of_list("torch.stack", "Stack"),
    activation("torch.mean", "Mean"),
    activation("torch.relu", "ReLU"),
    activation("torch.relu_", "ReLU"),
    activation("__torch__.torch.nn.functional.relu", "ReLU"),
    activation("torch.relu6", "ReLU6"),
    activation("torch.relu6_", "ReLU6"),
    activation("__torch__.torch.nn.functional.relu6", "ReLU6"),
    activation("torch.hardtanh", "Hardtanh"),
    activation("torch.hardtanh_", "Hardtanh"),
    activation("__torch__.torch.nn.functional.hardtanh", "Hardtanh"),
    activation("torch.leaky_relu", "LeakyReLU"),
    activation("torch.leaky_relu_", "LeakyReLU"),
    activation("__torch__.torch.nn.functional.leaky_relu", "LeakyReLU"),
    activation("torch.prelu", "PReLU"),
    activation("torch.elu", "ELU"),
    activation("torch.elu_", "ELU"),
    activation("__torch__.torch.nn.functional.elu", "ELU"),
    activation("torch.selu", "SELU"),
    activation("torch.selu_", "SELU"),
    activation("__torch__.torch.nn.functional.selu", "SELU"),
    activation("torch.gelu", "GELU"),
    activation("torch.silu", "SiLU"),
    activation("torch.silu_", "SiLU"),
    activation("__torch__.torch.nn.functional.silu", "SiLU"),
    activation("torch.hardswish", "Hardswish"),
    activation("torch.hardswish_", "Hardswish"),
    activation("__torch__.torch.nn.functional.hardswish", "Hardswish"),
    activation("torch.hardsigmoid", "Hardsigmoid"),
    activation("torch.hardsigmoid_", "Hardsigmoid"),
    activation("__torch__.torch.nn.functional.hardsigmoid", "Hardsigmoid"),
    activation("torch.sigmoid", "Sigmoid"),
    activation("torch.sigmoid_", "Sigmoid"),
    activation("torch.tanh", "Tanh"),
    activation("torch.tanh_", "Tanh"),
    activation("torch.softplus", "Softplus"),
    activation("torch.softmax", "Softmax"),
    activation("__torch__.torch.nn.functional.softmax", "Softmax"),
    activation("torch.batch_norm", "BatchNorm"),
    activation("__torch__.torch.nn.functional.batch_norm", "BatchNorm"),
    activation("torch.layer_norm", "LayerNorm"),
    activation("__torch__.torch.nn.functional.layer_norm", "LayerNorm"),
    activation("torch.max_pool2d", "MaxPool2d"),
    activation("__torch__.torch.nn.functional._max_pool2d", "MaxPool2d"),
    activation("torch.avg_pool2d", "AvgPool2d"),
    activation("torch.adaptive_avg_pool2d", "AdaptiveAvgPool2d"),
    activation("__torch__.torch.nn.functional.adaptive_avg_pool2d", "AdaptiveAvgPool2d"),
];

/// The row for a callee.
pub fn find(call: &str) -> Option<&'static CallRule> {
    CALLS.iter().find(|rule| rule.call == call)
}

/// Positions of tensors besides the weight that training changes: biases, and scales of normalizations. The schemas are those of [`CALLS`].
const PARAMETERS: &[(&str, &[usize])] = &[
    ("torch.conv1d", &[2]),
    ("torch.conv2d", &[2]),
    ("torch.conv3d", &[2]),
    ("torch.conv_transpose1d", &[2]),
    ("torch.conv_transpose2d", &[2]),
    ("torch.conv_transpose3d", &[2]),
    ("torch._convolution_mode", &[2]),
    ("torch._convolution", &[2]),
    ("torch.convolution", &[2]),
    ("torch.linear", &[2]),
    ("torch.addmm", &[0]),
    ("torch.bilinear", &[3]),
    ("torch.lstm_cell", &[4, 5]),
    ("torch.gru_cell", &[4, 5]),
    ("torch.rnn_tanh_cell", &[4, 5]),
    ("torch.rnn_relu_cell", &[4, 5]),
    ("torch.batch_norm", &[1, 2]),
    ("torch.layer_norm", &[2, 3]),
    ("torch.prelu", &[1]),
];

/// Positions of all tensors that training changes in a call of `rule`.
pub fn parameters(rule: &CallRule) -> Vec<usize> {
    let mut positions = match rule.weight {
        WeightRule::Tensor { argument, .. } => vec![argument],
        WeightRule::Convolution { .. } | WeightRule::Einsum => vec![1],
        WeightRule::Product { left, right } => vec![left, right],
        WeightRule::List { argument } => vec![argument, argument + 1],
        WeightRule::Fused(positions) | WeightRule::Tensors(positions) => positions.to_vec(),
        WeightRule::None | WeightRule::Operands(_) | WeightRule::Packed(..) => Vec::new(),
    };
    let further = PARAMETERS.iter().find(|(call, _)| *call == rule.call);
    positions.extend(further.into_iter().flat_map(|(_, further)| *further));
    positions
}

/// The position of the vector that a call of `rule` adds to what its weight makes, channel by channel.
pub fn bias(rule: &CallRule) -> Option<usize> {
    let adds =
        matches!(rule.weight, WeightRule::Tensor { .. } | WeightRule::Convolution { .. } | WeightRule::Product { .. });
    match PARAMETERS.iter().find(|(call, _)| *call == rule.call) {
        Some((_, [position])) if adds => Some(*position),
        _ => None,
    }
}

/// Module classes of `torch.nn` whose instances are one op: the type that `op_types` knows, and what its row in [`CALLS`] calls
/// it where that differs.
const MODULES: &[(&str, &str)] = &[
    ("Conv1d", "Conv1d"),
    ("Conv2d", "Conv2d"),
    ("Conv3d", "Conv3d"),
    ("ConvTranspose1d", "ConvTranspose1d"),
    ("ConvTranspose2d", "ConvTranspose2d"),
    ("ConvTranspose3d", "ConvTranspose3d"),
    ("Linear", "Linear"),
    ("NonDynamicallyQuantizableLinear", "Linear"),
    ("Bilinear", "Bilinear"),
    ("Embedding", "Embedding"),
    ("EmbeddingBag", "EmbeddingBag"),
    ("LSTM", "LSTM"),
    ("GRU", "GRU"),
    ("RNN", "RNN"),
    ("LSTMCell", "LSTMCell"),
    ("GRUCell", "GRUCell"),
    ("RNNCell", "RNNCell"),
    ("ReLU", "ReLU"),
    ("ReLU6", "ReLU6"),
    ("ReLU6", "Hardtanh"),
    ("Hardtanh", "Hardtanh"),
    ("Hardtanh", "ReLU6"),
    ("LeakyReLU", "LeakyReLU"),
    ("PReLU", "PReLU"),
    ("ELU", "ELU"),
    ("SELU", "SELU"),
    ("GELU", "GELU"),
    ("SiLU", "SiLU"),
    ("Hardswish", "Hardswish"),
    ("Hardsigmoid", "Hardsigmoid"),
    ("Sigmoid", "Sigmoid"),
    ("Tanh", "Tanh"),
    ("Softplus", "Softplus"),
    ("Softmax", "Softmax"),
    ("BatchNorm1d", "BatchNorm"),
    ("BatchNorm2d", "BatchNorm"),
    ("BatchNorm3d", "BatchNorm"),
    ("LayerNorm", "LayerNorm"),
    ("MaxPool2d", "MaxPool2d"),
    ("AvgPool2d", "AvgPool2d"),
    ("AdaptiveAvgPool2d", "AdaptiveAvgPool2d"),
];

/// Whether an instance of the module class `class` (its last name) is the op of type `op_type`.
pub fn module_is(class: &str, op_type: &str) -> bool {
    MODULES.iter().any(|(name, op)| *name == class && *op == op_type)
}

/// Module classes with a weight that belong to `default`: of these every instance is a site, run or not.
pub fn default_module(class: &str) -> Option<&'static str> {
    let (_, op_type) = MODULES.iter().find(|(name, _)| *name == class)?;
    CALLS.iter().any(|rule| rule.default && rule.op_type == *op_type).then_some(*op_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_stands_once() {
        for (index, rule) in CALLS.iter().enumerate() {
            assert_eq!(CALLS.iter().position(|other| other.call == rule.call), Some(index), "{}", rule.call);
        }
    }

    #[test]
    fn every_further_parameter_belongs_to_a_call() {
        for (call, positions) in PARAMETERS {
            let rule = find(call).unwrap();
            assert!(positions.iter().all(|position| !rule.inputs.contains(position)), "{call}");
        }
    }

    #[test]
    fn default_modules_are_those_of_the_specification() {
        let names: std::collections::BTreeSet<_> =
            MODULES.iter().filter(|(name, _)| default_module(name).is_some()).map(|(name, _)| *name).collect();
        let expected = [
            "Bilinear",
            "Conv1d",
            "Conv2d",
            "Conv3d",
            "ConvTranspose1d",
            "ConvTranspose2d",
            "ConvTranspose3d",
            "Embedding",
            "EmbeddingBag",
            "Linear",
            "NonDynamicallyQuantizableLinear",
        ];
        assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    }
}
