//! The types of `.proto` files as the tables of constants that the text form reads.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use protobuf::descriptor::field_descriptor_proto::{Label, Type};
use protobuf::descriptor::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// The types by their full names, in the order in which they have their numbers.
struct Types<'a> {
    messages: Vec<(String, &'a DescriptorProto)>,
    enums: Vec<(String, &'a EnumDescriptorProto)>,
}

/// The text of `table.rs`.
pub(crate) fn table(files: &[FileDescriptorProto]) -> Result<String> {
    let mut types = Types { messages: Vec::new(), enums: Vec::new() };
    for file in files {
        for message in &file.message_type {
            types.add(&format!(".{}", file.package()), message);
        }
        let enums = file.enum_type.iter().map(|found| (format!(".{}.{}", file.package(), found.name()), found));
        types.enums.extend(enums);
    }

    let root = |name: &str| place(&types.messages, &format!(".tensorflow.{name}"));
    let (graph, meta_graph, saved_model) = (root("GraphDef")?, root("MetaGraphDef")?, root("SavedModel")?);
    let mut text = format!(
        "//! The types of `proto/`, made by `cargo xtask generate`.\n\
         #![cfg_attr(rustfmt, rustfmt::skip)]\n\n\
         use super::Kind::{{Bool, Bytes, Double, Enum, Fixed64, Float, Int32, Int64, Message, String, Uint32, Uint64}};\n\
         use super::{{EnumId, FieldSpec, MessageId}};\n\n\
         pub(super) const GRAPH: MessageId = MessageId({graph});\n\
         pub(super) const META_GRAPH: MessageId = MessageId({meta_graph});\n\
         pub(super) const SAVED_MODEL: MessageId = MessageId({saved_model});\n\n\
         pub(super) const MESSAGES: &[(&str, &[FieldSpec])] = &[\n"
    );
    for (_, message) in &types.messages {
        writeln!(text, "    ({:?}, &[", message.name())?;
        for field in &message.field {
            let repeated = field.label() == Label::LABEL_REPEATED;
            let (name, number, kind, oneof) = (field.name(), field.number(), types.kind(field)?, field.oneof_index);
            writeln!(
                text,
                "        FieldSpec {{ name: {name:?}, number: {number}, kind: {kind}, repeated: {repeated}, oneof: {oneof:?} }},"
            )?;
        }
        text.push_str("    ]),\n");
    }
    text.push_str("];\n\npub(super) const ENUMS: &[(&str, &[(&str, i32)])] = &[\n");
    for (_, found) in &types.enums {
        writeln!(text, "    ({:?}, &[", found.name())?;
        for value in &found.value {
            writeln!(text, "        ({:?}, {}),", value.name(), value.number())?;
        }
        text.push_str("    ]),\n");
    }
    text.push_str("];\n");
    Ok(text)
}

fn place<T>(types: &[(String, T)], name: &str) -> Result<usize> {
    types.iter().position(|(known, _)| known == name).with_context(|| format!("there is no `{name}`"))
}

impl<'a> Types<'a> {
    fn add(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested);
        }
        self.messages.push((name, message));
    }

    fn kind(&self, field: &FieldDescriptorProto) -> Result<String> {
        let word = match field.type_() {
            Type::TYPE_DOUBLE => "Double",
            Type::TYPE_FLOAT => "Float",
            Type::TYPE_INT64 => "Int64",
            Type::TYPE_UINT64 => "Uint64",
            Type::TYPE_INT32 => "Int32",
            Type::TYPE_FIXED64 => "Fixed64",
            Type::TYPE_BOOL => "Bool",
            Type::TYPE_STRING => "String",
            Type::TYPE_BYTES => "Bytes",
            Type::TYPE_UINT32 => "Uint32",
            Type::TYPE_ENUM => return Ok(format!("Enum(EnumId({}))", place(&self.enums, field.type_name())?)),
            Type::TYPE_MESSAGE => {
                return Ok(format!("Message(MessageId({}))", place(&self.messages, field.type_name())?));
            }
            other => bail!("`{}` is {other:?}, which the text form does not know", field.name()),
        };
        Ok(word.to_owned())
    }
}
