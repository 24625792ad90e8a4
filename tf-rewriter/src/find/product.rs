//! A layer as a product `y = W·x`: where the elements of `W` lie in its constant, and which numbers of what the layer reads are an `x`.
//!
//! Sources: TensorFlow 2.21, `tf.raw_ops` of each op (filters, strides, dilations, `explicit_paddings`), and for `SAME`, where the odd zero stands
//! last, `tf.nn.convolution`.

use quant_math::moments::{Inputs, Order, Patches};
use quant_math::reconstruct::Matrix;

use crate::error::Error;
use crate::find::sites::{Weight, tensor_name};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// A layer as a product.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    /// What it reads, as `node:port`.
    pub(crate) tensor: String,
    rows: Rows,
}

/// How the rows `x` lie in what is read.
#[derive(Debug, Clone)]
enum Rows {
    /// A matrix, whose last axis are the inputs, or its first.
    Matrix { inputs: usize, outputs: usize, last: bool, weight_is_transposed: bool },
    /// A convolution.
    Window(Window),
}

/// A convolution's attributes. Lists have one entry for each spatial dimension.
#[derive(Debug, Clone)]
struct Window {
    /// Of the filter.
    sizes: Vec<usize>,
    /// Input channels of the filter.
    channels: usize,
    /// Outputs; of a depthwise filter, those of a channel.
    outputs: usize,
    depthwise: bool,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    padding: Padding,
    channels_last: bool,
}

#[derive(Debug, Clone)]
enum Padding {
    Valid,
    Same,
    /// Before and after, for each spatial dimension.
    Explicit(Vec<(usize, usize)>),
}

impl Product {
    /// The product that `op` makes of the weight that it reads at `input`; or why it is none.
    ///
    /// # Errors
    /// Damaged attributes.
    pub(crate) fn of(graph: &Graph, op: NodeId, input: usize, weight: &Weight) -> Result<Result<Self, String>, Error> {
        let kind = String::from_utf8_lossy(graph.op(op)).into_owned();
        let Some(shape) = weight.edge_shape().filter(|_| weight.keeps_order()) else {
            return Ok(Err("its weight is turned round, or a piece is cut off it, on the way".to_owned()));
        };
        let shape: Option<Vec<usize>> = shape.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let Some(shape) = shape else { return Ok(Err("its weight is too large".to_owned())) };
        let rows = match (kind.as_str(), input, shape.as_slice()) {
            ("MatMul", 0 | 1, &[first, second]) => {
                let flag =
                    |key: &str| graph.index().node(op).map(|node| node.attr_bool(graph.bytes(), key)).transpose();
                let (a, b) = (flag("transpose_a")? == Some(true), flag("transpose_b")? == Some(true));
                // The inputs of a weight on the right are its rows, of one on the left its columns.
                let (weight_is_transposed, last) = if input == 1 { (b, !a) } else { (!a, b) };
                let (inputs, outputs) = if weight_is_transposed { (second, first) } else { (first, second) };
                Rows::Matrix { inputs, outputs, last, weight_is_transposed }
            }
            ("Conv2D" | "Conv3D" | "DepthwiseConv2dNative", 1, [window @ .., channels, outputs]) => {
                let window = (window.to_vec(), *channels, *outputs);
                match Window::of(graph, op, window, kind == "DepthwiseConv2dNative")? {
                    Some(window) => Rows::Window(window),
                    None => return Ok(Err("its attributes are none that are known".to_owned())),
                }
            }
            _ => return Ok(Err(format!("how an op of type {kind} reads its inputs is not known here"))),
        };
        // The two sides of a product.
        let data = usize::from(input == 0);
        Ok(Ok(Self { tensor: tensor_name(graph, op, data), rows }))
    }

    /// Where the elements of the weight lie, of a layer whose inputs are these. `None` where they do not fit.
    pub(crate) fn matrix(&self, found: Inputs) -> Option<Matrix> {
        let matrix = match &self.rows {
            &Rows::Matrix { inputs, outputs, weight_is_transposed, .. } => {
                let (output_step, input_step) = if weight_is_transposed { (inputs, 1) } else { (1, outputs) };
                Matrix { groups: 1, outputs, inputs, group_step: 0, output_step, input_step }
            }
            Rows::Window(window) if window.depthwise => Matrix {
                groups: window.channels,
                outputs: window.outputs,
                inputs: window.places(),
                group_step: window.outputs,
                output_step: 1,
                input_step: window.channels * window.outputs,
            },
            Rows::Window(window) => {
                let outputs = window.outputs.checked_div(found.groups)?;
                Matrix {
                    groups: found.groups,
                    outputs,
                    inputs: window.places() * window.channels,
                    group_step: outputs,
                    output_step: 1,
                    input_step: window.outputs,
                }
            }
        };
        let whole = matrix.groups * matrix.outputs == self.outputs();
        (whole && (matrix.groups, matrix.inputs) == (found.groups, found.inputs)).then_some(matrix)
    }

    fn outputs(&self) -> usize {
        match &self.rows {
            Rows::Matrix { outputs, .. } => *outputs,
            Rows::Window(window) if window.depthwise => window.channels * window.outputs,
            Rows::Window(window) => window.outputs,
        }
    }

    /// How the rows lie in a tensor of this shape. `None` where it is none that the layer reads.
    pub(crate) fn patches(&self, shape: &[u64]) -> Option<Patches> {
        let shape: Vec<usize> = shape.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<_>>()?;
        match (&self.rows, shape.as_slice()) {
            (&Rows::Matrix { inputs, last, .. }, &[first, second]) => {
                let rows = if last { first } else { second };
                let (channel_step, sample_step) = if last { (1, inputs) } else { (second, 1) };
                let found = if last { second } else { first };
                // Every row is a sample of one place.
                (found == inputs).then(|| Patches {
                    channels: inputs,
                    groups: 1,
                    channel_step,
                    samples: rows,
                    sample_step,
                    sizes: vec![],
                    place_steps: vec![],
                    window: vec![],
                    strides: vec![],
                    dilations: vec![],
                    before: vec![],
                    outputs: vec![],
                    order: Order::PlacesFirst,
                })
            }
            (Rows::Window(window), [samples, rest @ ..]) => window.patches(*samples, rest),
            _ => None,
        }
    }
}

impl Window {
    /// The attributes of a convolution with this filter. `None` where one is unknown.
    fn of(
        graph: &Graph,
        op: NodeId,
        (window, channels, outputs): (Vec<usize>, usize, usize),
        depthwise: bool,
    ) -> Result<Option<Self>, Error> {
        let bytes = graph.bytes();
        let Some(node) = graph.index().node(op) else { return Ok(None) };
        let text = |key: &str| -> Result<Option<Vec<u8>>, Error> {
            Ok(node.attr_bytes(bytes, key)?.map(|span| span.of(bytes).to_vec()))
        };
        let rank = window.len();
        let channels_last = match text("data_format")?.as_deref() {
            None | Some(b"" | b"NHWC" | b"NDHWC") => true,
            Some(b"NCHW" | b"NCDHW") => false,
            Some(_) => return Ok(None),
        };
        let first = if channels_last { 1 } else { 2 };
        // One number for each dimension of the tensor; absent is 1 everywhere.
        let spatial = |numbers: Vec<i64>| -> Option<Vec<usize>> {
            if numbers.is_empty() {
                return Some(vec![1; rank]);
            }
            let own = numbers.get(first..first + rank).filter(|_| numbers.len() == rank + 2)?;
            own.iter().map(|number| usize::try_from(*number).ok().filter(|number| *number > 0)).collect()
        };
        let padding = match text("padding")?.as_deref() {
            Some(b"VALID") => Some(Padding::Valid),
            Some(b"SAME") => Some(Padding::Same),
            Some(b"EXPLICIT") => {
                let numbers = node.attr_ints(bytes, "explicit_paddings")?;
                let numbers: Option<Vec<usize>> = numbers.iter().map(|number| usize::try_from(*number).ok()).collect();
                let pairs = numbers.unwrap_or_default().as_chunks::<2>().0.get(first..first + rank).map(<[_]>::to_vec);
                pairs.map(|pairs| Padding::Explicit(pairs.into_iter().map(|[before, after]| (before, after)).collect()))
            }
            _ => None,
        };
        let strides = spatial(node.attr_ints(bytes, "strides")?);
        let dilations = spatial(node.attr_ints(bytes, "dilations")?);
        let (Some(padding), Some(strides), Some(dilations)) = (padding, strides, dilations) else { return Ok(None) };
        let is_whole = window.iter().chain([&channels, &outputs]).all(|size| *size > 0);
        let found = Self { sizes: window, channels, outputs, depthwise, strides, dilations, padding, channels_last };
        Ok(is_whole.then_some(found))
    }

    fn places(&self) -> usize {
        self.sizes.iter().product()
    }

    /// `shape` without its samples.
    fn patches(&self, samples: usize, shape: &[usize]) -> Option<Patches> {
        let (channels, sizes) = if self.channels_last {
            shape.split_last().map(|(channels, sizes)| (*channels, sizes))?
        } else {
            shape.split_first().map(|(channels, sizes)| (*channels, sizes))?
        };
        let groups = if self.depthwise { channels } else { channels / self.channels };
        let fits = if self.depthwise { channels == self.channels } else { groups * self.channels == channels };
        if sizes.len() != self.sizes.len() || !fits || groups == 0 {
            return None;
        }
        let mut place_steps = Vec::with_capacity(sizes.len());
        let mut step = if self.channels_last { channels } else { 1 };
        for size in sizes.iter().rev() {
            place_steps.insert(0, step);
            step *= size;
        }
        let (mut before, mut outputs) = (Vec::new(), Vec::new());
        for (dim, size) in sizes.iter().enumerate() {
            let (window, stride, dilation) = (self.sizes.get(dim)?, self.strides.get(dim)?, self.dilations.get(dim)?);
            let sees = (window - 1).checked_mul(*dilation)?.checked_add(1)?;
            let (zeros, all) = match &self.padding {
                Padding::Valid => (0, *size),
                Padding::Same => {
                    let wanted = size.div_ceil(*stride).saturating_sub(1).checked_mul(*stride)?.checked_add(sees)?;
                    let zeros = wanted.saturating_sub(*size);
                    (zeros / 2, size.checked_add(zeros)?)
                }
                Padding::Explicit(pairs) => {
                    let (zeros, after) = *pairs.get(dim)?;
                    (zeros, size.checked_add(zeros)?.checked_add(after)?)
                }
            };
            before.push(zeros);
            outputs.push(all.checked_sub(sees).map_or(0, |rest| rest / stride + 1));
        }
        Some(Patches {
            channels,
            groups,
            channel_step: if self.channels_last { 1 } else { step },
            samples,
            sample_step: channels * sizes.iter().product::<usize>(),
            sizes: sizes.to_vec(),
            place_steps,
            window: self.sizes.clone(),
            strides: self.strides.clone(),
            dilations: self.dilations.clone(),
            before,
            outputs,
            order: Order::PlacesFirst,
        })
    }
}
