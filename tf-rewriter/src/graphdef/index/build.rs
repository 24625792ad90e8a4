//! Making the index: one pass over the wire, then names and edges are resolved.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use hashbrown::HashTable;
use quant_math::Budget;

use super::{GraphIndex, Input, Node, Return, Scope, ScopeKind, Span, Target, fields, payload, topology};
use crate::error::{At, Error};
use crate::graphdef::wire::Field;

/// Nobody can choose names that collide: the seed is another one in every process. Tables are looked up, never walked, so no result
/// depends on it.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

pub(super) fn hash(name: &[u8]) -> u64 {
    SEED.hash_one(name)
}

/// What the tables take for a node: its entry twice, since a vector doubles when it grows, its place in the names and in the edges.
const NODE: usize = 2 * size_of::<Node>() + 24;
/// The same for an input: its entry, and its place among the consumers.
const INPUT: usize = 2 * size_of::<Input>() + 8;

impl GraphIndex {
    /// Index the binary GraphDef at `graph` and check it: unique names, every edge resolves, no cycle.
    pub(crate) fn build(bytes: &[u8], graph: Span, budget: &Budget) -> Result<Self, Error> {
        let mut scopes = vec![Scope::new(ScopeKind::Main)];
        let mut walk = fields(bytes, graph, "GraphDef");
        while let Some(field) = walk.next()? {
            match (field.number, scopes.first_mut()) {
                (1, Some(main)) => main.push(bytes, &field, budget)?,
                (2, _) => index_library(bytes, &field, &mut scopes, budget)?,
                _ => {}
            }
        }
        let functions = functions_by_name(&scopes, bytes)?;
        for scope in &mut scopes {
            scope.resolve(bytes)?;
            scope.resolve_returns(bytes)?;
            topology::check(scope, bytes)?;
        }
        Ok(Self { scopes, functions })
    }
}

/// Two functions of one name could not be told apart, and TensorFlow takes the second one only where it is the same.
fn functions_by_name(scopes: &[Scope], bytes: &[u8]) -> Result<HashTable<u32>, Error> {
    let mut table = HashTable::with_capacity(scopes.len() - 1);
    let name_of = |id: u32| scopes.get(id as usize).map_or(&[][..], |scope| scope.function_name(bytes));
    for (id, scope) in (0u32..).zip(scopes) {
        let ScopeKind::Function { name, function, .. } = scope.kind else { continue };
        let text = name.of(bytes);
        let entry = table.entry(hash(text), |other| name_of(*other) == text, |other| hash(name_of(*other)));
        match entry {
            hashbrown::hash_table::Entry::Occupied(_) => {
                return Err(Error::DuplicateFunction {
                    name: name.text(bytes).to_owned(),
                    at: At::offset(function.0.start()),
                });
            }
            hashbrown::hash_table::Entry::Vacant(slot) => {
                slot.insert(id);
            }
        }
    }
    Ok(table)
}

/// FunctionDefLibrary: function = 1. FunctionDef: signature = 1, node_def = 3, ret = 4 (a map of strings).
fn index_library(bytes: &[u8], field: &Field<'_>, scopes: &mut Vec<Scope>, budget: &Budget) -> Result<(), Error> {
    let library = payload(field, "GraphDef.library")?;
    // Counted first, so that the tables are made as large as they will be.
    let mut walk = fields(bytes, library, "FunctionDefLibrary");
    let mut functions = 0;
    while let Some(inner) = walk.next()? {
        functions += usize::from(inner.number == 1);
    }
    budget.take_all::<Scope>(functions, "the function bodies")?;
    scopes.reserve_exact(functions);
    let mut walk = fields(bytes, library, "FunctionDefLibrary");
    while let Some(inner) = walk.next()? {
        if inner.number != 1 {
            continue;
        }
        let function = payload(&inner, "FunctionDefLibrary.function")?;
        let mut scope = Scope::new(ScopeKind::Function {
            library: (field.span.clone().into(), library),
            function: (inner.span.clone().into(), function),
            name: Span::default(),
        });
        let mut walk = fields(bytes, function, "FunctionDef");
        while let Some(part) = walk.next()? {
            match part.number {
                1 => scope.signature(bytes, payload(&part, "FunctionDef.signature")?, budget)?,
                3 => scope.push(bytes, &part, budget)?,
                4 => {
                    budget.take_all::<Return>(2, "the results of functions")?;
                    scope.returns.push(returned(bytes, &part)?);
                }
                _ => {}
            }
        }
        scopes.push(scope);
    }
    Ok(())
}

/// A `map<string, string>` entry: key = 1, value = 2.
fn returned(bytes: &[u8], field: &Field<'_>) -> Result<Return, Error> {
    let entry = payload(field, "FunctionDef.ret")?;
    let (key, text) = (Span::default(), Span::default());
    let mut found = Return { field: field.span.clone().into(), key, text, target: Target::Argument };
    let mut walk = fields(bytes, entry, "FunctionDef.ret");
    while let Some(part) = walk.next()? {
        match part.number {
            1 => found.key = utf8(bytes, payload(&part, "a map entry's key")?, "FunctionDef.ret")?,
            2 => found.text = utf8(bytes, payload(&part, "a map entry's value")?, "FunctionDef.ret")?,
            _ => {}
        }
    }
    Ok(found)
}

impl Scope {
    fn new(kind: ScopeKind) -> Self {
        Self {
            kind,
            nodes: Vec::new(),
            inputs: Vec::new(),
            names: HashTable::new(),
            returns: Vec::new(),
            first_consumer: Vec::new(),
            consumers: Vec::new(),
            positions: Vec::new(),
            arguments: Vec::new(),
            results: Vec::new(),
        }
    }

    /// OpDef: name = 1, input_arg = 2, output_arg = 3 (ArgDef: name = 1).
    fn signature(&mut self, bytes: &[u8], signature: Span, budget: &Budget) -> Result<(), Error> {
        let mut walk = fields(bytes, signature, "OpDef");
        while let Some(field) = walk.next()? {
            match field.number {
                1 => {
                    if let ScopeKind::Function { name, .. } = &mut self.kind {
                        *name = payload(&field, "OpDef.name")?;
                    }
                }
                2 | 3 => {
                    let list = if field.number == 2 { &mut self.arguments } else { &mut self.results };
                    budget.take_all::<(Span, u32)>(2, "the arguments and results of functions")?;
                    add_named(bytes, payload(&field, "OpDef.input_arg")?, list)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// NodeDef: name = 1, op = 2, input = 3.
    fn push(&mut self, bytes: &[u8], field: &Field<'_>, budget: &Budget) -> Result<(), Error> {
        let body = payload(field, "GraphDef.node")?;
        budget.take(NODE as u64, "the nodes")?;
        let first_input = count(self.inputs.len());
        let (mut name_field, mut name, mut op) = (Span::default(), Span::default(), Span::default());
        let mut walk = fields(bytes, body, "NodeDef");
        while let Some(part) = walk.next()? {
            match part.number {
                1 => {
                    name_field = part.span.clone().into();
                    name = utf8(bytes, payload(&part, "NodeDef.name")?, "NodeDef.name")?;
                }
                2 => op = utf8(bytes, payload(&part, "NodeDef.op")?, "NodeDef.op")?,
                3 => {
                    budget.take(INPUT as u64, "the inputs of nodes")?;
                    let text = utf8(bytes, payload(&part, "NodeDef.input")?, "NodeDef.input")?;
                    self.inputs.push(Input { field: part.span.clone().into(), text, target: Target::Argument });
                }
                _ => {}
            }
        }
        if name.len() == 0 || op.len() == 0 {
            return Err(Error::Wire {
                what: "NodeDef".into(),
                found: if name.len() == 0 { "a node without a name" } else { "a node without an op" }.into(),
                expected: "both".into(),
                at: Box::new(At { node: None, index: Some(self.nodes.len()), offset: Some(field.span.start as u64) }),
            });
        }
        // Both would make an edge mean something else.
        let text = name.of(bytes);
        if text.starts_with(b"^") || text.contains(&b':') {
            return Err(Error::Wire {
                what: "NodeDef.name".into(),
                found: format!("`{}`", name.text(bytes)).into(),
                expected: "a name without `:` that does not begin with `^`".into(),
                at: Box::new(At { node: None, index: Some(self.nodes.len()), offset: Some(name_field.start() as u64) }),
            });
        }
        let input_count = count(self.inputs.len()) - first_input;
        self.nodes.push(Node {
            field: field.span.clone().into(),
            body,
            name_field,
            name,
            op,
            first_input,
            input_count,
        });
        Ok(())
    }

    fn resolve(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // Sorted, so that they can be searched.
        for names in [&mut self.arguments, &mut self.results] {
            names.sort_by(|(a, _), (b, _)| a.of(bytes).cmp(b.of(bytes)));
        }
        self.names.reserve(self.nodes.len(), |_| 0);
        for (id, node) in self.nodes.iter().enumerate() {
            let name = node.name.of(bytes);
            let nodes = &self.nodes;
            let name_of = |&other: &u32| nodes.get(other as usize).map(|n| n.name.of(bytes)).unwrap_or_default();
            match self.names.entry(hash(name), |other| name_of(other) == name, |other| hash(name_of(other))) {
                hashbrown::hash_table::Entry::Occupied(first) => {
                    return Err(Error::DuplicateName {
                        name: node.name.text(bytes).to_owned(),
                        first: *first.get() as usize,
                        second: id,
                        at: Box::new(self.at(bytes, id)),
                    });
                }
                hashbrown::hash_table::Entry::Vacant(slot) => {
                    slot.insert(count(id));
                }
            }
        }
        for id in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(id).copied() else { continue };
            let range = node.first_input as usize..(node.first_input + node.input_count) as usize;
            let mut is_behind_control = false;
            for position in range {
                let Some(input) = self.inputs.get(position).copied() else { continue };
                let is_control = input.text.of(bytes).starts_with(b"^");
                // Everything else takes an input's position for the number of the op's argument.
                if is_behind_control && !is_control {
                    return Err(Error::ControlFirst {
                        node: node.name.text(bytes).to_owned(),
                        input: input.text.text(bytes).to_owned(),
                        at: Box::new(self.at(bytes, id)),
                    });
                }
                is_behind_control = is_control;
                let Some(target) = self.target(bytes, input.text) else {
                    return Err(Error::MissingInput {
                        node: node.name.text(bytes).to_owned(),
                        input: input.text.text(bytes).to_owned(),
                        at: Box::new(self.at(bytes, id)),
                    });
                };
                if let Some(input) = self.inputs.get_mut(position) {
                    input.target = target;
                }
            }
        }
        Ok(())
    }

    /// What leaves a function is one of its nodes' outputs or one of its arguments.
    fn resolve_returns(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut returns = std::mem::take(&mut self.returns);
        for returned in &mut returns {
            let Some(target @ (Target::Data { .. } | Target::Argument)) = self.target(bytes, returned.text) else {
                let ScopeKind::Function { name, .. } = self.kind else { continue };
                return Err(Error::MissingInput {
                    node: format!("{}::ret({})", name.text(bytes), returned.key.text(bytes)),
                    input: returned.text.text(bytes).to_owned(),
                    at: At::offset(returned.field.start()),
                });
            };
            returned.target = target;
        }
        self.returns = returns;
        Ok(())
    }

    fn target(&self, bytes: &[u8], text: Span) -> Option<Target> {
        let text = text.of(bytes);
        if let Some(name) = text.strip_prefix(b"^") {
            return match self.find(bytes, name) {
                Some(node) => Some(Target::Control { node }),
                None => self.is_argument(bytes, name).then_some(Target::Argument),
            };
        }
        let name = text.split(|b| *b == b':').next().unwrap_or_default();
        match self.find(bytes, name) {
            Some(node) => {
                // `name`, `name:port`, and in function bodies `name:output:port`.
                let port = text.get(name.len() + 1..).unwrap_or_default().rsplit(|b| *b == b':').next()?;
                let port = if port.is_empty() { 0 } else { std::str::from_utf8(port).ok()?.parse().ok()? };
                Some(Target::Data { node, port })
            }
            None => self.is_argument(bytes, text).then_some(Target::Argument),
        }
    }

    fn is_argument(&self, bytes: &[u8], name: &[u8]) -> bool {
        self.argument(bytes, name).is_some()
    }
}

/// Add the name of an ArgDef (name = 1) with its number.
fn add_named(bytes: &[u8], argument: Span, names: &mut Vec<(Span, u32)>) -> Result<(), Error> {
    let mut walk = fields(bytes, argument, "ArgDef");
    let mut name = Span::default();
    while let Some(part) = walk.next()? {
        if part.number == 1 {
            name = payload(&part, "ArgDef.name")?;
        }
    }
    names.push((name, count(names.len())));
    Ok(())
}

fn utf8(bytes: &[u8], span: Span, what: &'static str) -> Result<Span, Error> {
    match std::str::from_utf8(span.of(bytes)) {
        Ok(_) => Ok(span),
        Err(_) => Err(Error::Wire {
            what: what.into(),
            found: "bytes that are not UTF-8".into(),
            expected: "text".into(),
            at: At::offset(span.start()),
        }),
    }
}

/// Counts of nodes and inputs: each takes at least two of fewer than 2^31 bytes.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use crate::graphdef::graph::Graph;

    fn open(value: &str) -> Result<Graph, crate::error::Error> {
        let text = format!(
            r#"node {{ name: "only" op: "NoOp" }} library {{ function {{ signature {{ name: "f" input_arg {{ name: "x" type: DT_FLOAT }} }}
               node_def {{ name: "a" op: "Identity" input: "x" }} ret {{ key: "out" value: "{value}" }} }} }}"#
        );
        Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes())?)
    }

    #[test]
    fn a_function_returns_a_node_or_an_argument() {
        assert!(open("a:output:0").is_ok());
        assert!(open("x").is_ok());
        for dangling in ["b:output:0", "^a", ""] {
            let error = open(dangling).unwrap_err();
            assert_eq!(error.code(), "E0203", "{dangling}: {error}");
            assert!(error.to_string().contains("f::ret(out)"), "{error}");
        }
    }
    /// Names that all fall into one place of a table without a seed, whose every look-up would compare all of them, are spread in ours: by
    /// the standard library's own hash without a seed, and by FNV-1a.
    #[test]
    fn names_that_collide_without_a_seed_do_not_collide_here() {
        const PLACES: u64 = 1 << 8;
        let standard = |name: &[u8]| BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
        let fnv = |name: &[u8]| {
            let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            name.iter().fold(0xcbf2_9ce4_8422_2325, step)
        };
        for unseeded in [&standard as &dyn Fn(&[u8]) -> u64, &fnv] {
            let names = (0..).map(|number: u32| format!("n{number}"));
            let names: Vec<String> = names.filter(|name| unseeded(name.as_bytes()) % PLACES == 0).take(1000).collect();
            let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
            for name in &names {
                *counts.entry(super::hash(name.as_bytes()) % PLACES).or_default() += 1;
            }
            // Four to a place on average. That one of 256 places has 32 or more has a probability below 1e-15: the bound of Chernoff is
            // 256 · e^28 · (4/32)^32.
            assert!(counts.values().all(|count| *count < 32), "{counts:?}");
        }
    }

    #[test]
    fn a_name_is_no_edge() {
        for name in ["^a", "a:0"] {
            let text = format!(r#"node {{ name: "{name}" op: "NoOp" }}"#);
            let error = Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(error.code(), "E0201", "{name}: {error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
