//! TensorFlow's messages, generated from `proto/` by `cargo xtask generate`.
//!
//! Only what a rule asks for is decoded into these types, and only what it changes is encoded from them; everything else stays the
//! bytes it was. Unknown fields are kept, and maps are lists of entries in the order of the file.

#[expect(
    warnings,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod graph;
#[expect(
    warnings,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod saved_model;

pub use graph::{
    AttrValue, DataType, FullTypeDef, FullTypeId, FunctionDef, FunctionDefLibrary, GradientDef, GraphDebugInfo,
    GraphDef, NameAttrList, NodeDef, OpDef, OpDeprecation, RegisteredGradient, ResourceHandleProto, TensorProto,
    TensorShapeProto, VariantTensorDataProto, VersionDef, attr_value, full_type_def, function_def, graph_debug_info,
    name_attr_list, node_def, op_def, resource_handle_proto, tensor_shape_proto,
};
pub use saved_model::{
    AssetFileDef, CollectionDef, SavedObjectGraph, SaverDef, SignatureDef, TensorInfo, TrackableObjectGraph,
    collection_def, meta_graph_def, signature_def,
};

#[cfg(test)]
mod tests {
    use protobuf::Message;

    use super::{GraphDef, NodeDef, node_def};

    #[test]
    fn entries_keep_their_order_and_unknown_fields_stay() {
        let attr = |key: &str| node_def::AttrEntry { key: key.to_owned(), ..Default::default() };
        let node = NodeDef { name: "a".to_owned(), attr: vec![attr("z"), attr("b"), attr("m")], ..Default::default() };
        let mut bytes = GraphDef { node: vec![node], ..Default::default() }.write_to_bytes().unwrap();
        bytes.extend([0xfa, 0x3e, 1, 7]); // field 1007, one byte
        let graph = GraphDef::parse_from_bytes(&bytes).unwrap();
        let keys: Vec<&str> = graph.node[0].attr.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["z", "b", "m"]);
        assert_eq!(graph.write_to_bytes().unwrap(), bytes);
    }
}
