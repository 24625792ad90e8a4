//! The types of producers' outputs against those of consumers' inputs.

use std::collections::{BTreeMap, BTreeSet};

use protobuf::Enum;

use super::signatures;
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{Node, NodeId, Scope, ScopeKind, Target};
use crate::graphdef::pb::DataType;
use crate::graphdef::pb::op_def::ArgDef;
use crate::graphdef::tensor::dtype_name;

/// The most that are told.
const MOST: usize = 64;

/// A type of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Type {
    number: u64,
    is_ref: bool,
}

impl Type {
    fn of(dtype: DataType) -> Self {
        Self { number: u64::try_from(dtype.value()).unwrap_or(0), is_ref: false }
    }

    /// Whether what takes this can be given `other`: a value may come from a reference, a reference only from one.
    fn takes(self, other: Self) -> bool {
        self.number == other.number && (other.is_ref || !self.is_ref)
    }

    fn name(self) -> String {
        let name = dtype_name(i32::try_from(self.number).unwrap_or(0));
        if self.is_ref { format!("a reference to {name}") } else { name.into_owned() }
    }
}

/// Edges whose type is known on both ends and does not fit, or that read an output which its op does not have; in words, the first ones.
///
/// # Errors
/// Damaged attributes and signatures.
pub(crate) fn wrong_edges(graph: &Graph) -> Result<Vec<String>, Error> {
    let mut wrong = Vec::new();
    let functions = Functions::of(graph)?;
    for (scope, found) in (0u32..).zip(&graph.index().scopes) {
        if wrong.len() < MOST {
            Edges::of(graph, &functions, (scope, found))?.check(&mut wrong)?;
        }
    }
    wrong.truncate(MOST);
    Ok(wrong)
}

/// The edges of a scope.
struct Edges<'g> {
    graph: &'g Graph,
    functions: &'g Functions,
    id: u32,
    scope: &'g Scope,
    /// The outputs of each node, where they are known.
    outputs: Vec<Option<Outputs>>,
}

/// What an edge gives: the type, where it is known; an error where its op has no such output.
type Given = Result<Option<Type>, NoOutput>;

struct NoOutput;

impl<'g> Edges<'g> {
    fn of(graph: &'g Graph, functions: &'g Functions, (id, scope): (u32, &'g Scope)) -> Result<Self, Error> {
        let outputs = scope.nodes.iter().map(|node| Outputs::of(graph, node)).collect::<Result<_, _>>()?;
        Ok(Self { graph, functions, id, scope, outputs })
    }

    fn check(&self, wrong: &mut Vec<String>) -> Result<(), Error> {
        let bytes = self.graph.bytes();
        for (at, node) in (0u32..).zip(&self.scope.nodes) {
            let inputs = self.scope.inputs(node);
            let expected = self.functions.expected(self.graph, node, inputs.len())?;
            for (position, input) in inputs.iter().enumerate() {
                let text = input.text.text(bytes);
                let reads = || {
                    let name = self.graph.full_name(NodeId { scope: self.id, node: at });
                    format!("input {position} of `{name}` reads `{text}`")
                };
                match (self.given(input.target, text), expected.get(position).copied().flatten()) {
                    (Err(NoOutput), _) => wrong.push(format!("{}, which its op does not make", reads())),
                    (Ok(Some(given)), Some(expected)) if !expected.takes(given) => {
                        wrong.push(format!("{}, which is {}, and takes {}", reads(), given.name(), expected.name()));
                    }
                    _ => {}
                }
            }
        }
        for returned in &self.scope.returns {
            let (key, text) = (returned.key.text(bytes), returned.text.text(bytes));
            let node = text.split(':').next().and_then(|name| self.scope.find(bytes, name.as_bytes()));
            let port = text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
            let target = node.map_or(Target::Argument, |node| Target::Data { node, port });
            let result = || self.graph.name_in(self.id, &format!("ret({key})"));
            let expected = self.functions.signatures.get(&self.id).and_then(|own| own.results.get(key).copied());
            match (self.given(target, text), expected) {
                (Err(NoOutput), _) => wrong.push(format!("`{}` is `{text}`, which its op does not make", result())),
                (Ok(Some(given)), Some(expected)) if !expected.takes(given) => {
                    wrong.push(format!(
                        "`{}` is {}, and its value `{text}` {}",
                        result(),
                        expected.name(),
                        given.name()
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn given(&self, target: Target, text: &str) -> Given {
        match target {
            Target::Data { node, port } => match self.outputs.get(node as usize).and_then(Option::as_ref) {
                Some(outputs) => outputs.read(matches!(self.scope.kind, ScopeKind::Main), text, port),
                None => Ok(None),
            },
            Target::Argument => {
                let own = self.functions.signatures.get(&self.id);
                Ok(own.and_then(|own| own.arguments.get(text).copied()))
            }
            Target::Control { .. } => Ok(None),
        }
    }
}

/// The type of an argument, where it is one that the signature itself says.
fn argument_type(argument: &ArgDef) -> Option<Type> {
    let plain = argument.type_attr.is_empty() && argument.number_attr.is_empty() && argument.type_list_attr.is_empty();
    let dtype = argument.type_.enum_value().ok().filter(|dtype| plain && *dtype != DataType::DT_INVALID)?;
    Some(Type { is_ref: argument.is_ref, ..Type::of(dtype) })
}

/// What a function takes and gives, as far as its signature says.
struct Signature {
    /// In order.
    order: Vec<Option<Type>>,
    arguments: BTreeMap<String, Type>,
    results: BTreeMap<String, Type>,
}

/// The signatures of functions, by scope.
struct Functions {
    signatures: BTreeMap<u32, Signature>,
}

impl Functions {
    fn of(graph: &Graph) -> Result<Self, Error> {
        let mut signatures = BTreeMap::new();
        for (scope, _) in (0u32..).zip(&graph.index().scopes) {
            let Some((_, signature)) = graph.signature(scope)? else { continue };
            let named = |list: &[ArgDef]| {
                list.iter().filter_map(|argument| Some((argument.name.clone(), argument_type(argument)?))).collect()
            };
            signatures.insert(
                scope,
                Signature {
                    order: signature.input_arg.iter().map(argument_type).collect(),
                    arguments: named(&signature.input_arg),
                    results: named(&signature.output_arg),
                },
            );
        }
        Ok(Self { signatures })
    }

    /// The types that the first `count` inputs of a node take: those that the op says, and where it calls a function those of the arguments.
    fn expected(&self, graph: &Graph, node: &Node, count: usize) -> Result<Vec<Option<Type>>, Error> {
        let bytes = graph.bytes();
        let op = node.op.of(bytes);
        let mut types = Vec::new();
        if let Some(known) = signatures::signature(op) {
            for run in expand(graph, node, known.inputs.split(' ').map(|spec| ("", spec)))?.runs {
                types.extend(std::iter::repeat_n(run.own, run.count.min(count.saturating_sub(types.len()))));
            }
        }
        let (keys, first): (&[&str], usize) = match op {
            b"If" | b"StatelessIf" => (&["then_branch", "else_branch"], 1),
            b"Case" | b"StatelessCase" => (&["branches"], 1),
            b"While" | b"StatelessWhile" => (&["cond", "body"], 0),
            b"PartitionedCall" | b"StatefulPartitionedCall" => (&["f"], 0),
            _ => return Ok(types),
        };
        types.resize(count, None);
        let named = node.functions(bytes)?.into_iter().filter(|(key, _)| keys.contains(&key.text(bytes)));
        // Branches can be one function many times.
        let callees: BTreeSet<u32> =
            named.filter_map(|(_, name)| graph.index().function(bytes, name.of(bytes))).collect();
        for callee in callees.iter().filter_map(|scope| self.signatures.get(scope)) {
            let arguments = callee.order.as_slice();
            // Where node and function differ, no edge fits both.
            for (slot, own) in types.iter_mut().skip(first).zip(arguments) {
                *slot = own.or(*slot);
            }
        }
        Ok(types)
    }
}

/// Values of one type that stand side by side.
struct Run {
    /// What function bodies call them.
    name: &'static str,
    /// Where the first one stands among all.
    start: usize,
    count: usize,
    own: Option<Type>,
}

/// Inputs or outputs of a node.
struct Outputs {
    runs: Vec<Run>,
    /// Whether these are all.
    complete: bool,
}

impl Outputs {
    fn of(graph: &Graph, node: &Node) -> Result<Option<Self>, Error> {
        let Some(known) = signatures::signature(node.op.of(graph.bytes())) else { return Ok(None) };
        let specs = known.outputs.split(' ').filter_map(|output| output.split_once(':'));
        expand(graph, node, specs).map(Some)
    }

    /// The type of the output that an edge reads by `text`.
    fn read(&self, in_main: bool, text: &str, port: u32) -> Given {
        // `node:output:number` in function bodies, where a bare name is the first output.
        let named = text.split(':').nth(1).filter(|name| !in_main && name.parse::<u32>().is_err());
        let (from, name) = match named {
            Some(name) => match self.runs.iter().find(|run| run.name == name) {
                Some(run) => (run.start, Some(name)),
                None if self.complete => return Err(NoOutput),
                None => return Ok(None),
            },
            None => (0, None),
        };
        let at = from + port as usize;
        let after = self.runs.partition_point(|run| run.start <= at);
        let run = after.checked_sub(1).and_then(|run| self.runs.get(run));
        match run.filter(|run| at < run.start + run.count && name.is_none_or(|name| run.name == name)) {
            Some(run) => Ok(run.own),
            None if self.complete => Err(NoOutput),
            None => Ok(None),
        }
    }

    fn push(&mut self, name: &'static str, own: Option<Type>, count: usize) {
        match self.runs.last_mut() {
            Some(last) if last.name == name && last.own == own => last.count += count,
            last => {
                let start = last.map_or(0, |last| last.start + last.count);
                self.runs.push(Run { name, start, count, own });
            }
        }
    }
}

/// The types that specifications stand for at a node.
fn expand(
    graph: &Graph,
    node: &Node,
    specs: impl Iterator<Item = (&'static str, &'static str)>,
) -> Result<Outputs, Error> {
    let bytes = graph.bytes();
    let mut found = Outputs { runs: Vec::new(), complete: false };
    for (name, spec) in specs.filter(|(_, spec)| !spec.is_empty()) {
        if let Some(key) = spec.strip_prefix('*') {
            let Some(types) = node.attr_list(bytes, key)? else { return Ok(found) };
            for dtype in &types.type_ {
                found.push(name, dtype.enum_value().ok().map(Type::of), 1);
            }
            continue;
        }
        let (count, spec) = match spec.split_once('*') {
            Some((key, spec)) => match node.attr_int(bytes, key)?.and_then(|count| u32::try_from(count).ok()) {
                Some(count) => (count as usize, spec),
                None => return Ok(found),
            },
            None => (1, spec),
        };
        let (is_ref, spec) = spec.strip_prefix('&').map_or((false, spec), |spec| (true, spec));
        let number = match spec.strip_prefix('=') {
            Some(fixed) => fixed_type(fixed),
            None => node.attr_type(bytes, spec)?,
        };
        found.push(name, number.map(|number| Type { number, is_ref }), count);
    }
    found.complete = true;
    Ok(found)
}

fn fixed_type(name: &str) -> Option<u64> {
    let dtype = DataType::from_str(&format!("DT_{}", name.to_ascii_uppercase()))?;
    u64::try_from(dtype.value()).ok()
}

/// The number in the main graph of what function bodies call `name:index` of a node: outputs are counted through there.
///
/// # Errors
/// Damaged attributes. `Ok(None)` where TensorFlow does not know the op, or it has no such output.
pub(crate) fn flat_port(graph: &Graph, node: &Node, name: &str, index: u32) -> Result<Option<u32>, Error> {
    let Some(outputs) = Outputs::of(graph, node)? else { return Ok(None) };
    // A list of several types is as many runs as it changes its type.
    let mut left = index as usize;
    for run in outputs.runs.iter().filter(|run| run.name == name) {
        if left < run.count {
            return Ok(u32::try_from(run.start + left).ok());
        }
        left -= run.count;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        wrong_edges(&Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes()).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn every_signature_can_be_read() {
        let all = signatures::all();
        assert!(
            all.len() > 1900 && all.windows(2).all(|pair| pair[0].op < pair[1].op),
            "sorted, so that it can be searched"
        );
        for known in all {
            let (op, inputs, outputs) = (known.op, known.inputs, known.outputs);
            for output in outputs.split(' ').filter(|output| !output.is_empty()) {
                assert!(output.contains(':'), "{op}: {output}");
            }
            for spec in inputs.split(' ').chain(outputs.split(' ').filter_map(|output| Some(output.split_once(':')?.1)))
            {
                let fixed = spec.rsplit_once('=').map(|(_, name)| fixed_type(name));
                assert!(fixed.is_none_or(|found| found.is_some()), "{op}: {spec}");
            }
        }
    }

    const TYPED: &str = r#"attr { key: "T" value { type: DT_FLOAT } }"#;
    const X: &str = r#"node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_HALF } } }"#;
    const VARIABLE: &str = r#"node { name: "v" op: "VariableV2" attr { key: "dtype" value { type: DT_FLOAT } } }"#;

    #[test]
    fn an_edge_carries_the_type_that_its_reader_takes() {
        let relu = format!(r#"{X} node {{ name: "r" op: "Relu" input: "x" {TYPED} }}"#);
        assert_eq!(wrong(&relu), ["input 0 of `r` reads `x`, which is DT_HALF, and takes DT_FLOAT"]);
        let port = format!(r#"{X} node {{ name: "r" op: "Relu" input: "x:1" {TYPED} }}"#);
        assert_eq!(wrong(&port), ["input 0 of `r` reads `x:1`, which its op does not make"]);
        // A value may come from a reference, and a reference from nothing else.
        let switch = format!(
            r#"{VARIABLE} node {{ name: "p" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_BOOL }} }} }}
               node {{ name: "i" op: "Identity" input: "v" {TYPED} }}
               node {{ name: "s" op: "RefSwitch" input: "v" input: "p" {TYPED} }}
               node {{ name: "t" op: "RefSwitch" input: "i" input: "p" {TYPED} }}"#
        );
        assert_eq!(wrong(&switch), ["input 0 of `t` reads `i`, which is DT_FLOAT, and takes a reference to DT_FLOAT"]);
    }

    #[test]
    fn functions_take_and_give_what_they_say() {
        let call = |result: &str, kind: &str| {
            format!(
                r#"{X} node {{ name: "c" op: "PartitionedCall" input: "x"
                   attr {{ key: "Tin" value {{ list {{ type: DT_HALF }} }} }} attr {{ key: "Tout" value {{ list {{ type: DT_HALF }} }} }}
                   attr {{ key: "f" value {{ func {{ name: "f" }} }} }} }}
                   library {{ function {{ signature {{ name: "f" input_arg {{ name: "a" type: {kind} }} output_arg {{ name: "o" type: DT_HALF }} }}
                   node_def {{ name: "n" op: "Identity" input: "a" attr {{ key: "T" value {{ type: DT_HALF }} }} }}
                   ret {{ key: "o" value: "{result}" }} }} }}"#
            )
        };
        assert_eq!(wrong(&call("n:output:0", "DT_HALF")), Vec::<String>::new());
        assert_eq!(wrong(&call("n:value:0", "DT_HALF")), ["`f::ret(o)` is `n:value:0`, which its op does not make"]);
        let resource = wrong(&call("n:output:0", "DT_RESOURCE"));
        assert_eq!(resource.len(), 2, "{resource:?}");
        assert!(resource[0].contains("input 0 of `c`") && resource[1].contains("input 0 of `f::n`"), "{resource:?}");
    }
}
