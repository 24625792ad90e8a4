//! Control edges: what a node waits for once calls are gone.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::body::control;
use super::instance::{Made, Outer};
use super::{Inliner, Value, lost};
use crate::error::Error;
use crate::find::ops::{is_variable, writes_variables};
use crate::graphdef::index::{Input, NodeId, ScopeKind, Target, fields, payload};

/// A node of an instance.
type At = (usize, NodeId);

impl Inliner<'_> {
    /// What a node has to wait for. An edge that orders nothing but reads of variables goes: nothing writes them any more. In loops and branches of
    /// TF1 it stays, since it says in which frame the node runs. `None` where something has to be made first.
    pub(super) fn controls(&mut self, at: usize, id: NodeId) -> Result<Option<Vec<Rc<str>>>, Error> {
        let graph = self.graph;
        let (scope, node) = graph.index().scope(id.scope).zip(graph.index().node(id)).ok_or_else(|| lost("a node"))?;
        let mut found = Vec::new();
        let mut complete = true;
        for input in scope.inputs(node) {
            match input.target {
                Target::Control { node } => {
                    let source = NodeId { scope: id.scope, node };
                    if !self.has_frames && self.effects.is_pure(source) {
                        continue;
                    }
                    match self.waits_for(at, source)? {
                        Some(texts) => found.extend(texts),
                        None => complete = false,
                    }
                }
                Target::Argument if input.text.of(graph.bytes()).starts_with(b"^") => match self.argument(at, input)? {
                    Some(Value::Tensor(text)) => found.push(control(&text)),
                    Some(Value::Variable(_)) => {}
                    None => complete = false,
                },
                Target::Argument | Target::Data { .. } => {}
            }
        }
        let mut seen = BTreeSet::new();
        found.retain(|text| seen.insert(Rc::clone(text)));
        Ok(complete.then_some(found))
    }

    /// The argument that `^argument` waits for.
    fn argument(&mut self, at: usize, input: &Input) -> Result<Option<Value>, Error> {
        let mut plain = *input;
        plain.text.start += 1;
        self.value(at, &plain)
    }

    /// What waiting for a node is waiting for: where it is a call that is gone, what the function does besides its results, or these.
    pub(super) fn waits_for(&mut self, at: usize, id: NodeId) -> Result<Option<Vec<Rc<str>>>, Error> {
        let mut found = Vec::new();
        let mut complete = true;
        let mut waiting: Vec<At> = vec![(at, id)];
        let mut seen: BTreeSet<At> = BTreeSet::new();
        while let Some((at, id)) = waiting.pop() {
            if !seen.insert((at, id)) || is_variable(self.graph.op(id)) || self.assigns_asset(id) {
                continue;
            }
            let body = self.instance(at)?.body;
            let made = self.instance(at)?.made(id.node).cloned();
            if let Some(made) = made {
                match made {
                    Made::Node { node, .. } | Made::Only { node, .. } => {
                        let name = self.name_of(body, node)?;
                        found.push(control(&name));
                    }
                    Made::Value(Value::Tensor(text)) => found.push(control(&text)),
                    Made::Value(Value::Variable(_)) | Made::Nothing => {}
                }
                continue;
            }
            let Some(child) = self.child(at, id)? else {
                self.waiting.push((at, id.node));
                complete = false;
                continue;
            };
            let scope = self.instance(child)?.scope;
            let effects = self.control_results(scope)?;
            if !effects.is_empty() {
                waiting.extend(effects.into_iter().map(|node| (child, NodeId { scope, node })));
                continue;
            }
            let returns = self.graph.index().scope(scope).map(|scope| scope.returns.clone()).unwrap_or_default();
            for returned in returns {
                match returned.target {
                    Target::Data { node, .. } => waiting.push((child, NodeId { scope, node })),
                    Target::Argument => {
                        let input = Input { field: returned.field, text: returned.text, target: returned.target };
                        match self.value(child, &input)? {
                            Some(Value::Tensor(text)) => found.push(control(&text)),
                            Some(Value::Variable(_)) => {}
                            None => complete = false,
                        }
                    }
                    Target::Control { .. } => {}
                }
            }
        }
        Ok(complete.then_some(found))
    }

    /// Whether a node gives a variable the path of an asset, which is a constant here.
    fn assigns_asset(&self, id: NodeId) -> bool {
        let is_asset = |variable: NodeId| id.scope == 0 && self.variables.assets.contains_key(&variable.node);
        writes_variables(self.graph.op(id)) && self.graph.source(id, 0).is_some_and(is_asset)
    }

    /// The nodes that a call of a function waits for besides its results. FunctionDef.control_ret = 6, a map of strings.
    pub(super) fn control_results(&self, scope: u32) -> Result<Vec<u32>, Error> {
        let graph = self.graph;
        let Some(found) = graph.index().scope(scope) else { return Ok(Vec::new()) };
        let ScopeKind::Function { function, .. } = found.kind else { return Ok(Vec::new()) };
        let mut nodes = Vec::new();
        let mut walk = fields(graph.bytes(), function.1, "FunctionDef");
        while let Some(field) = walk.next()? {
            if field.number != 6 {
                continue;
            }
            let mut entry =
                fields(graph.bytes(), payload(&field, "FunctionDef.control_ret")?, "FunctionDef.control_ret");
            while let Some(part) = entry.next()? {
                if part.number == 2 {
                    let name = payload(&part, "a map entry's value")?;
                    nodes.extend(found.find(graph.bytes(), name.of(graph.bytes())));
                }
            }
        }
        Ok(nodes)
    }

    /// A control input for a node without inputs, which says where it runs: the call may stand in a loop or branch of TF1.
    pub(super) fn entry(&mut self, at: usize) -> Result<Vec<Rc<str>>, Error> {
        let mut at = at;
        while self.has_frames {
            let Outer::Call { instance, node } = self.instance(at)?.outer else { break };
            let graph = self.graph;
            let controls = loop {
                let base = self.waiting.len();
                if let Some(controls) = self.controls(instance, node)? {
                    break controls;
                }
                self.drive(base)?;
            };
            if let Some(first) = controls.into_iter().next() {
                return Ok(vec![first]);
            }
            let inputs = match (graph.index().scope(node.scope), graph.index().node(node)) {
                (Some(scope), Some(call)) => scope.inputs(call).to_vec(),
                _ => Vec::new(),
            };
            for input in inputs.iter().filter(|input| matches!(input.target, Target::Data { .. })) {
                match self.settle(instance, input)? {
                    Value::Tensor(text) => return Ok(vec![control(&text)]),
                    Value::Variable(handle) => {
                        if let Some(text) = handle.at {
                            return Ok(vec![control(&text)]);
                        }
                    }
                }
            }
            at = instance;
        }
        Ok(Vec::new())
    }
}
