//! Generates the message types of `proto/graph.proto`, without `protoc`.

fn main() {
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .input("proto/graph.proto")
        .cargo_out_dir("proto")
        .run_from_script();
}
