//! "Did you mean": the known word that a misspelt one is nearest to.

/// The candidate that `word` was probably meant to be: the same but for case, or a few letters off.
///
/// Words of up to seven letters may differ by one edit, longer ones by two; a word that is itself a
/// candidate has no nearest one.
///
/// ```
/// use coordinator_core::settings::nearest;
/// assert_eq!(nearest("podMacPrefix", ["podMACPrefix", "mode"]), Some("podMACPrefix"));
/// assert_eq!(nearest("ipam", ["podMACPrefix", "mode"]), None);
/// ```
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lowered = word.to_ascii_lowercase();
    let allowed = if word.chars().count() > 7 { 2 } else { 1 };
    let mut best: Option<(usize, &'c str)> = None;
    for candidate in candidates {
        if candidate == word {
            return None;
        }
        // Every edit changes the length by one at most.
        if word.len().abs_diff(candidate.len()) > 4 * allowed {
            continue;
        }
        let distance = distance(&lowered, &candidate.to_ascii_lowercase());
        if distance <= allowed && best.is_none_or(|(known, _)| distance < known) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: the fewest insertions, deletions and replacements of a character.
fn distance(left: &str, right: &str) -> usize {
    // `row` holds the distances of the left text so far to each beginning of the right one.
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at, l) in left.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at.saturating_add(1);
        for (cell, r) in row.iter_mut().skip(1).zip(right.chars()) {
            let replaced = diagonal.saturating_add(usize::from(l != r));
            diagonal = *cell;
            before = replaced.min(before.saturating_add(1)).min(cell.saturating_add(1));
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = at.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        for (left, right, expected) in
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("mode", "node", 1), ("ab", "ba", 2)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn near_misses_are_found_and_others_are_not() {
        let names = coordinator_sdk::Settings::NAMES;
        for (word, expected) in [
            ("podMacPrefix", Some("podMACPrefix")),
            ("serviceCidr", Some("serviceCIDR")),
            ("hijackCDIR", Some("hijackCIDR")),
            ("overlayPodCIDRs", Some("overlayPodCIDR")),
            ("modes", Some("mode")),
            ("vethMtu", Some("vethMTU")),
            ("mode", None),
            ("bridge", None),
            ("", None),
            ("a key that has nothing to do with any of ours and is long", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }
}
