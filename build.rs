//! Compiles the protocol buffers without protoc and keeps their descriptors for gRPC reflection.

use std::{env, fs, path::PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;

const PROTOS: [&str; 2] = ["proto/undertone/v1/undertone.proto", "proto/undertone/v1/supervision.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors: FileDescriptorSet = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Audio is handed on as it came, without a copy.
    let audio = [".undertone.v1.AudioChunk.data", ".undertone.v1.ClassifyRequest.data"];
    let compiler = audio.into_iter().fold(tonic_prost_build::configure(), |compiler, field| compiler.bytes(field));
    compiler.compile_fds(descriptors)?;
    Ok(())
}
