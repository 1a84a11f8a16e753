//! The state of one call: its timeline, its decoder, and its legs. Without clock or I/O.
//!
//! Whoever drives a [`Call`] passes `now` in, and after each input takes [`Output`]s from [`Call::poll`] until there are none.
//! What is heard goes through a [`decision::Decider`](crate::decision::Decider) a leg, in media order, which tells alerts by
//! [`Options::rules`]; a call takes newer rules at its next window. Windows go out as [`Output::Infer`]; what became of them comes back by [`Call::apply`], late or out of order as it may; events
//! leave in media order all the same. Time-outs expire through [`Call::tick`], at the latest at [`Call::deadline`].
//!
//! | state | input | next | outputs |
//! |---|---|---|---|
//! | open | `push`, `control`, `apply` | open | windows, events, alerts, levels, what was spent; once, a warning and a status |
//! | open | `acknowledge`, `snooze`, a snooze's end by `tick` | open | an alert |
//! | open | `tick` after the status interval | open | a status |
//! | open | `tick` after the idle time-out | closing | as `close` |
//! | open | `rejoin` after a break | open | none |
//! | open | `close` | closing | the last windows |
//! | closing | `apply` of the last window, or `tick` after the close time-out | closed | events, alerts that are resolved, summaries, [`Output::Closed`] |
//! | closing, closed | anything else | unchanged | none |

mod leg;
mod machine;
mod measure;
mod options;
mod output;
#[cfg(test)]
mod tests;
mod timeline;

pub use machine::Call;
pub use measure::{Spent, Worked};
pub use options::{Chunk, Control, LegOptions, Options};
pub use output::{Alert, EndReason, Event, LegStatus, Output, Resumption, Status, Summary, Warning, WindowId};
