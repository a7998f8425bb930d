//! Quantities as bars. Owns their proportions only; colours are [`super::output`]'s.

/// `count` of `largest` as a bar of at most `cells` cells, exact to an eighth of one; what is not
/// nothing is never shown as nothing.
pub(super) fn bar(count: usize, largest: usize, cells: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if count == 0 || largest == 0 {
        return String::new();
    }
    let eighths = (count.saturating_mul(cells * 8) / largest).clamp(1, cells * 8);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(bar(24, 24, 8), "████████");
        assert_eq!(bar(12, 24, 8), "████");
        assert_eq!(bar(9, 24, 8), "███");
        assert_eq!(bar(1, 16, 8), "▌");
        assert_eq!(bar(1, 1_000_000, 8), "▏");
        assert_eq!(bar(0, 24, 8), "");
        assert_eq!(bar(0, 0, 8), "");
    }
}
