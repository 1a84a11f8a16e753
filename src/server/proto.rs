//! What is generated from `proto/`: messages, server and client.

tonic::include_proto!("undertone.v1");

/// The descriptors of all protos of this project, encoded, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
