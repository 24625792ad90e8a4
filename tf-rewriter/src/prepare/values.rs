//! Constants whose elements stay where they are: in a checkpoint, in memory, or in the file of the graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::given::{ReadVariable, given};
use super::variables::Variables;
use crate::error::{ContainerError, Error};
use crate::graphdef::attrs;
use crate::graphdef::bundle::{Bundle, Values};
use crate::graphdef::graph::{Elsewhere, Graph, Piece, mark};
use crate::graphdef::index::{NodeId, payload};
use crate::graphdef::io::Mapped;
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::shape_and_type;
use crate::graphdef::wire::put_bytes;

/// From so many bytes on the elements of a constant stay in the graph's file.
pub(super) const LARGE: usize = 4096;

/// Why a variable cannot be a constant.
pub(super) const NO_VALUE: &str = "the checkpoint has no value for the variable";

/// Elements that stay where they are.
pub(super) struct Constants<'a> {
    pieces: Vec<Arc<Piece>>,
    /// Variables that became constants with values of the checkpoint.
    pub(super) variables: usize,
    /// Gives values of variables; what it does not have is in the checkpoint.
    read: &'a ReadVariable<'a>,
    given: Given,
    /// The fields of constants with given values, by the number of the variable's node: each is read once.
    made: BTreeMap<u32, Vec<u8>>,
    /// The file of the graph, where it is binary.
    file: Option<Mapped>,
}

/// What was given of values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given {
    /// Variables that became constants with them.
    pub(super) variables: usize,
    pub(super) bytes: u64,
    /// Of all bytes, in the order in which variables were asked for.
    pub(super) crc: Option<u32>,
}

impl<'a> Constants<'a> {
    pub(super) fn of(file: Option<Mapped>, read: &'a ReadVariable<'a>) -> Self {
        let (pieces, made) = (Vec::new(), BTreeMap::new());
        Self { pieces, variables: 0, read, given: Given::default(), made, file }
    }

    /// What was given so far.
    pub(super) fn given(&self) -> Given {
        self.given
    }

    pub(super) fn into_elsewhere(self) -> Elsewhere {
        Elsewhere::new(self.pieces)
    }

    /// Whether the caller gives the value of a variable, which then is a constant.
    pub(super) fn is_given(&mut self, graph: &Graph, variable: u32) -> Result<bool, Error> {
        if self.made.contains_key(&variable) {
            return Ok(true);
        }
        let id = NodeId { scope: 0, node: variable };
        let Some((_, tensor)) = given(self.read, graph, id)? else { return Ok(false) };
        let length = tensor.bytes.len() as u64;
        graph.budget().read_too(length);
        self.given.variables += 1;
        self.given.bytes += length;
        self.given.crc = Some(crc32c::crc32c_append(self.given.crc.unwrap_or(0), &tensor.bytes));
        let fields = self.constant(tensor.into())?;
        self.made.insert(variable, fields);
        Ok(true)
    }

    /// The fields of a constant with the value of a variable.
    pub(super) fn variable(
        &mut self,
        graph: &Graph,
        variables: &Variables,
        bundle: Option<&Bundle>,
        variable: u32,
    ) -> Result<Vec<u8>, Error> {
        let id = NodeId { scope: 0, node: variable };
        if self.is_given(graph, variable)?
            && let Some(made) = self.made.get(&variable)
        {
            return Ok(made.clone());
        }
        let missing = || ContainerError::Freeze {
            node: graph.full_name(id),
            op: String::from_utf8_lossy(graph.op(id)).into_owned(),
            why: NO_VALUE.to_owned(),
            help: "give the checkpoint that belongs to the model with `--checkpoint`".into(),
        };
        let (Some(key), Some(bundle)) = (variables.key(variable), bundle) else { return Err(missing().into()) };
        let is_text = bundle.entry(&key.name)?.is_some_and(|entry| entry.dtype == DataType::DT_STRING);
        if is_text {
            self.variables += 1;
            return strings(bundle, &key.name);
        }
        let Some(found) = bundle.values(&key.name, &key.slice)? else { return Err(missing().into()) };
        graph.check_variable(id, found.dtype())?;
        self.variables += 1;
        self.constant(found)
    }

    /// The fields of a constant with these elements. Few of them are in the graph itself, where everything looks at them.
    fn constant(&mut self, found: Values) -> Result<Vec<u8>, Error> {
        let dtype = found.dtype();
        let mut value = shape_and_type(dtype, found.shape());
        if found.len() < LARGE {
            put_bytes(&mut value, 4, found.bytes()?);
        } else {
            value.extend(mark(self.pieces.len()));
            self.pieces.push(Arc::new(Piece::Checkpoint(found)));
        }
        Ok(attrs::constant(dtype, &value))
    }

    /// The attribute `value` of a constant whose elements are many: they stay in the file. `None` for any other.
    pub(super) fn large(&mut self, graph: &Graph, id: NodeId) -> Result<Option<Vec<u8>>, Error> {
        let (Some(file), Some(span)) = (&self.file, graph.constant_span(id)?) else { return Ok(None) };
        let mut walk = crate::graphdef::index::fields(graph.bytes(), span, "TensorProto");
        let (mut value, mut found) = (Vec::new(), None);
        while let Some(field) = walk.next()? {
            if field.number == 4 {
                let content = payload(&field, "TensorProto.tensor_content")?;
                if content.len() < LARGE {
                    return Ok(None);
                }
                found = Some(content);
            } else {
                value.extend_from_slice(graph.bytes().get(field.span.clone()).unwrap_or_default());
            }
        }
        let Some(content) = found else { return Ok(None) };
        value.extend(mark(self.pieces.len()));
        self.pieces.push(Arc::new(Piece::File(file.clone(), content.start()..content.end())));
        Ok(Some(attrs::tensor("value", &value)))
    }
}

/// The fields of a constant that is one string.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut value = shape_and_type(DataType::DT_STRING, &[]);
    put_bytes(&mut value, 8, text.as_bytes());
    attrs::constant(DataType::DT_STRING, &value)
}

/// The fields of a constant with the strings of a checkpoint's tensor.
fn strings(bundle: &Bundle, name: &str) -> Result<Vec<u8>, Error> {
    let shape = bundle.entry(name)?.map(|entry| entry.shape).unwrap_or_default();
    let mut value = shape_and_type(DataType::DT_STRING, &shape);
    for text in bundle.strings(name)?.unwrap_or_default() {
        put_bytes(&mut value, 8, &text);
    }
    Ok(attrs::constant(DataType::DT_STRING, &value))
}
