//! Orders and paddings of Java, so that output is the same to the byte.

/// `String.hashCode()`.
pub fn hash_text(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `TopicPartition.hashCode()`.
pub fn hash_place(place: &crate::cli::operation::TopicPartition) -> i32 {
    (31i32.wrapping_add(place.partition)).wrapping_mul(31).wrapping_add(hash_text(&place.topic))
}

/// Capacity of a `HashMap` that was made without one.
pub const CAPACITY: usize = 16;

/// `items` in the order in which a `HashMap` of `capacity` at first, filled in their order, walks over them.
pub fn hash_order<T>(mut items: Vec<T>, capacity: usize, hash: impl Fn(&T) -> i32) -> Vec<T> {
    let mut buckets = capacity.max(1).next_power_of_two();
    while items.len() > buckets * 3 / 4 {
        buckets *= 2;
    }
    items.sort_by_key(|item| {
        let hash = hash(item) as u32;
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    });
    items
}

/// Cells of a row padded to `widths` and one blank between them; the last as it is if it has no width.
pub fn row(cells: &[&str], widths: &[usize]) -> String {
    let padded = cells.iter().enumerate().map(|(i, cell)| {
        let width = widths.get(i).copied().unwrap_or(0);
        format!("{cell:<width$}")
    });
    padded.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(hash_text(""), 0);
        assert_eq!(hash_text("abc"), 96_354);
        assert_eq!(hash_text("polygenelubricants"), i32::MIN);
        assert_eq!(hash_place(&crate::cli::operation::TopicPartition::new("a", 0)), 31 * 31 + 97);
    }

    #[test]
    fn small_maps_go_by_the_low_bits() {
        let letters: Vec<&str> = vec!["q", "b", "a", "p"];
        // 97 and 113 share a bucket of 16, in the order of insertion; 98 and 112 have their own.
        assert_eq!(hash_order(letters, CAPACITY, |text| hash_text(text)), ["p", "q", "a", "b"]);
    }
}
