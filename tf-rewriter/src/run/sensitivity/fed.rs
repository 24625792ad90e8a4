//! A graph whose weights are fed: one session then runs the model with any of them quantized in any way.
//!
//! Nothing is imported or optimized again from run to run, since what is fed and fetched is the same in all of them. Each op has a value of its
//! own, also where several read one constant.

use crate::error::Error;
use crate::find::frames::Frames;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::ScopeKind;
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::pb_type;
use crate::rewrite::emit::{Copies, Editor, NewNode, WeightWork, can_have_its_own, homes};

/// The graph in which the op of each of `works` reads a placeholder of float32 in place of its weight, and the placeholders' names; `None` where
/// that cannot be: what is in a function or a loop cannot be fed.
///
/// # Errors
/// Damaged nodes.
pub(super) fn fed(graph: &Graph, works: &[WeightWork]) -> Result<(Graph, Vec<Option<String>>), Error> {
    let mut editor = Editor::new(graph);
    let (frames, mut copies) = (Frames::of_main(graph), Copies::default());
    let mut names = Vec::with_capacity(works.len());
    for work in works {
        editor.within_budget()?;
        names.push(feed(&mut editor, &frames, work, &mut copies)?);
    }
    copies.reroute(&mut editor)?;
    Ok((graph.patched(editor.finish()?)?, names))
}

fn feed<'w>(
    editor: &mut Editor<'_>,
    frames: &Frames,
    work: &'w WeightWork,
    copies: &mut Copies<'w>,
) -> Result<Option<String>, Error> {
    let graph = editor.graph;
    let Some((home, _)) = homes(graph, &[work]).into_iter().next() else { return Ok(None) };
    let kind = editor.scope_kind(home.scope);
    if !matches!(kind, ScopeKind::Main) || frames.hold(home) || !can_have_its_own(graph, work)? {
        return Ok(None);
    }
    let op = graph.name(work.op);
    let name = editor.unique(home.scope, &format!("{op}/weight_fed"));
    let placeholder = NewNode::new("Placeholder", name.clone(), Vec::new(), editor.device(home))
        .typed("dtype", DataType::DT_FLOAT)
        .shape("shape", &work.weight.shape);
    let (mut nodes, dtype) = (vec![placeholder], pb_type(work.weight.dtype));
    if dtype != DataType::DT_FLOAT {
        // It rounds as the values of such a constant are rounded when they are written.
        let cast = editor.unique(home.scope, &format!("{op}/weight_fed/cast"));
        let cast = NewNode::new("Cast", cast, vec![name.clone()], editor.device(home));
        nodes.push(cast.typed("SrcT", DataType::DT_FLOAT).typed("DstT", dtype));
    }
    if let Some(last) = nodes.last() {
        copies.add(&[work], &last.output(kind));
    }
    editor.insert(home, nodes);
    Ok(Some(name))
}
