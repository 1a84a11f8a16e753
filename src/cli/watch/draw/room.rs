//! How the lines of a screen are shared out: alerts come first, and what is empty takes none.

use ratatui::widgets::Borders;

/// Whole borders cost lines that a smaller screen needs for what stands in them: from so many columns and lines on.
const BORDERED: (u16, u16) = (60, 16);
/// Alerts that are seen before anything else gets a line.
const FIRST_ALERTS: usize = 3;

/// What there is to show, in lines without borders and titles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) alerts: usize,
    pub(super) evidence: usize,
    pub(super) foot: usize,
}

/// The lines that each part gets, from above; their sum is the screen's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) head: u16,
    pub(super) calls: u16,
    pub(super) alerts: u16,
    pub(super) evidence: u16,
    pub(super) foot: u16,
}

/// The borders of a part on a screen of this size.
pub(super) fn borders((width, height): (u16, u16)) -> Borders {
    if width >= BORDERED.0 && height >= BORDERED.1 { Borders::ALL } else { Borders::TOP }
}

impl Room {
    /// Shares out a screen of this size.
    pub(super) fn of(size: (u16, u16), wanted: Wanted) -> Self {
        let lines = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX);
        let border = if borders(size) == Borders::ALL { 2 } else { 1 };
        // A title, the heads of the columns, and a row.
        let least = border + 2;
        let foot = lines(wanted.foot).min(size.1);
        let head = u16::from(size.1 - foot > least);
        let mut left = size.1 - foot - head;
        let mut take = |lines: u16| {
            let taken = lines.min(left);
            left -= taken;
            taken
        };
        let mut alerts = match wanted.alerts {
            0 if size.1 < BORDERED.1 => 0,
            rows => take(border + 1 + lines(rows.clamp(1, FIRST_ALERTS))),
        };
        let mut calls = take(least);
        if calls < least && alerts > 0 {
            alerts += std::mem::take(&mut calls);
        }
        let mut evidence = if calls == 0 || wanted.evidence == 0 { 0 } else { take(border + lines(wanted.evidence)) };
        if evidence <= border {
            calls += std::mem::take(&mut evidence);
        }
        match (calls, alerts) {
            (0, _) => alerts += left,
            (_, 0) => calls += left,
            _ => {
                let more = left * 3 / 5;
                calls += more;
                alerts += left - more;
            }
        }
        Self { head, calls, alerts, evidence, foot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(size: (u16, u16), alerts: usize, evidence: usize) -> Room {
        Room::of(size, Wanted { alerts, evidence, foot: if size.1 >= 12 { 2 } else { 1 } })
    }

    #[test]
    fn every_line_is_given_once_whatever_the_size() {
        for height in 0..60 {
            for (alerts, evidence, foot) in [(0, 0, 0), (0, 0, 2), (1, 4, 1), (9, 0, 3), (90, 12, 2)] {
                let Room { head, calls, alerts, evidence, foot } =
                    Room::of((80, height), Wanted { alerts, evidence, foot });
                assert_eq!(head + calls + alerts + evidence + foot, height);
            }
        }
    }

    #[test]
    fn small_screens_show_alerts_first_and_nothing_empty() {
        let of = |room: Room| (room.head, room.calls, room.alerts, room.evidence, room.foot);
        assert_eq!(of(room((60, 10), 1, 0)), (1, 4, 4, 0, 1));
        assert_eq!(of(room((60, 10), 9, 4)), (1, 3, 5, 0, 1));
        assert_eq!(of(room((30, 6), 1, 4)), (1, 0, 4, 0, 1));
        assert_eq!(of(room((20, 3), 1, 4)), (0, 0, 2, 0, 1));
        assert_eq!(of(room((30, 6), 0, 0)), (1, 4, 0, 0, 1), "calls, where there is no alert");
    }

    #[test]
    fn a_usual_screen_shows_all_of_the_evidence_and_gives_what_is_left_to_calls_and_alerts() {
        assert_eq!(room((80, 24), 9, 8), Room { head: 1, calls: 4, alerts: 7, evidence: 10, foot: 2 });
        assert_eq!(room((110, 30), 1, 4), Room { head: 1, calls: 11, alerts: 10, evidence: 6, foot: 2 });
        assert_eq!(room((110, 30), 1, 0).evidence, 0);
    }
}
