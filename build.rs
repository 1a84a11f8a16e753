//! Compiles the protocol buffers without protoc and keeps their descriptors for gRPC reflection, and tells the trainer which code hears,
//! so that features kept on disk are those of this code.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

use prost::Message as _;
use prost_types::FileDescriptorSet;

const PROTOS: [&str; 2] = ["proto/undertone/v1/undertone.proto", "proto/undertone/v1/supervision.proto"];

/// All that decides what is heard of a recording, and how it lies on disk.
const HEARING: [&str; 12] = [
    "Cargo.lock",
    "src/audio",
    "src/features",
    "src/corpus/condition.rs",
    "src/corpus/line.rs",
    "src/corpus/line",
    "src/corpus/seed.rs",
    "src/model/forest.rs",
    "src/train/thesis/hearing.rs",
    "src/train/cache/kept.rs",
    "src/train/telephone/channel.rs",
    "src/train/telephone/variants.rs",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    // Cargo hands it to what it runs as well, and what begins with UNDERTONE_ is configuration there.
    println!("cargo::rustc-env=HEARING_OF_UNDERTONE={:016x}", hearing()?);
    let descriptors: FileDescriptorSet = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Audio is handed on as it came, without a copy.
    let audio = [".undertone.v1.AudioChunk.data", ".undertone.v1.ClassifyRequest.data"];
    let compiler = audio.into_iter().fold(tonic_prost_build::configure(), |compiler, field| compiler.bytes(field));
    compiler.compile_fds(descriptors)?;
    Ok(())
}

fn hearing() -> io::Result<u64> {
    let mut hash = DefaultHasher::new();
    for path in HEARING {
        println!("cargo::rerun-if-changed={path}");
        hash_in(Path::new(path), &mut hash)?;
    }
    Ok(hash.finish())
}

/// A file, or all files of a folder in the order of their names.
fn hash_in(path: &Path, hash: &mut DefaultHasher) -> io::Result<()> {
    if !path.is_dir() {
        path.hash(hash);
        fs::read(path)?.hash(hash);
        return Ok(());
    }
    let mut inside = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    inside.sort();
    inside.iter().try_for_each(|path| hash_in(path, hash))
}
