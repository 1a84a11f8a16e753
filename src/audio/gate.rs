//! Which stretches are speech.

/// What is heard in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Somebody speaks.
    Speech,
    /// Nobody does.
    Silence,
}
