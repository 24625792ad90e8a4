//! `--emit baked`: the constant holds the quantized values, in its own type, and nothing else changes.

use quant_math::weights::Form;

use super::node::NewNode;
use super::path::{Copies, homes};
use super::taking_over::control_inputs;
use super::{Editor, WeightWork};
use crate::error::Error;
use crate::find::mark;
use crate::graphdef::graph::Graph;
use crate::graphdef::tensor::pb_type;
use crate::graphdef::tensor::{Payload, TensorView, encode_splat, header};
use crate::rewrite::splice::{Segment, tensor_attr};

/// Quantize one constant for the ops of `group`, which all want the same; returns the bytes of its elements in the output. `owned`: nothing
/// else reads it, so that it may change itself.
pub(crate) fn baked<'w>(
    editor: &mut Editor<'_>,
    group: &[&'w WeightWork],
    owned: bool,
    copies: &mut Copies<'w>,
) -> Result<u64, Error> {
    let Some(first) = group.first() else { return Ok(0) };
    let graph = editor.graph;
    let weight = &first.weight;
    let source = weight.source;
    let text = first.settings.in_words();

    if owned {
        let content = content(graph, first)?;
        let view = view(graph, first)?;
        let in_place = match view.payload() {
            Payload::Content(span) | Payload::Values { contiguous: Some(span), .. } if weight.splat.is_none() => {
                Some(span.clone().into())
            }
            _ => None,
        };
        let node = graph.index().node(source);
        let attr = node.map(|n| n.attr(graph.bytes(), "value")).transpose()?.flatten();
        match (in_place, attr) {
            (Some(span), _) => editor.patch(source, span, vec![content.payload]),
            (None, Some(attr)) => editor.patch(source, attr.entry, tensor_attr("value", content.tensor())),
            (None, None) => {}
        }
        editor.mark(source, &text);
        return Ok(weight.stored_bytes());
    }

    let mut bytes = weight.stored_bytes();
    for (home, works) in homes(graph, group) {
        let Some(own) = works.first() else { continue };
        let content = content(graph, own)?;
        let name = editor.unique(home.scope, &format!("{}/weight_quant", graph.name(own.op)));
        let controls = if home == source { control_inputs(graph, source) } else { Vec::new() };
        let mut node = NewNode::new("Const", name, controls, editor.device(home))
            .typed("dtype", pb_type(weight.dtype))
            .marked(mark::ATTR, &text);
        bytes += crate::rewrite::splice::total(std::slice::from_ref(&content.payload)) as u64;
        node.set_tensor(content.tensor());
        copies.add(&works, &node.output(editor.scope_kind(home.scope)));
        editor.insert(home, vec![node]);
    }
    Ok(bytes)
}

struct Content {
    /// TensorProto fields before the payload.
    head: Vec<u8>,
    payload: Segment,
}

impl Content {
    fn tensor(self) -> Vec<Segment> {
        vec![Segment::Bytes(self.head), self.payload]
    }
}

/// The quantized TensorProto: a stream, or the short form of a constant that was in short form.
fn content(graph: &Graph, work: &WeightWork) -> Result<Content, Error> {
    let weight = &work.weight;
    if weight.is_one_value() {
        let view = view(graph, work)?;
        let data = view.float_data()?;
        let stored = data.stored().chunk(0..data.stored().len()).into_owned();
        let mut values = vec![0f32; stored.len()];
        work.map.values_into(0, &stored, &mut values);
        return Ok(Content {
            head: Vec::new(),
            payload: Segment::Bytes(encode_splat(weight.dtype, &weight.shape, &values)),
        });
    }
    let stream = work.stream(Form::Values(weight.dtype));
    let head = header(pb_type(weight.dtype), &weight.shape, stream.len());
    Ok(Content { head, payload: Segment::Weights(stream) })
}

fn view<'a>(graph: &'a Graph, work: &'a WeightWork) -> Result<TensorView<'a>, Error> {
    graph.tensor(work.weight.tensor, graph.name(work.weight.source))
}
