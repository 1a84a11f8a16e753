//! Random numbers of one purpose, so that nothing drawn for one clip changes what is drawn for another.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

/// The generator for what `names` say, under a seed: the same on every machine and in any order of asking.
pub fn generator(seed: u64, names: &[&str]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for name in names {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn seeds_and_names_tell_generators_apart() {
        let draw = |seed, names: &[&str]| generator(seed, names).random::<u64>();
        assert_eq!(draw(1, &["loss", "a"]), draw(1, &["loss", "a"]));
        assert_ne!(draw(1, &["loss", "a"]), draw(2, &["loss", "a"]));
        assert_ne!(draw(1, &["loss", "a"]), draw(1, &["lossa", ""]));
    }
}
