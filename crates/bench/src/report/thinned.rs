//! A sample of a long series, evenly spread, in bounded memory. Pure.

/// Keeps every item at first. When it is full it drops every second one, and from then on keeps only one of two, of four, and
/// so on: what is kept is always spread evenly over what came, and the first item stays.
#[derive(Debug, Clone)]
pub struct Thinned<T> {
    kept: Vec<T>,
    most: usize,
    seen: u64,
    /// One of so many is kept.
    stride: u64,
}

impl<T> Thinned<T> {
    /// Keeps at most so many, and once it is full at least half as many.
    pub fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most: most.max(2), seen: 0, stride: 1 }
    }

    /// Takes the next one; it is made only if it is kept.
    pub fn add(&mut self, make: impl FnOnce() -> T) {
        let keep = self.seen.is_multiple_of(self.stride);
        self.seen += 1;
        if !keep {
            return;
        }
        if self.kept.len() == self.most {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
            if !(self.seen - 1).is_multiple_of(self.stride) {
                return;
            }
        }
        self.kept.push(make());
    }

    /// What was kept, in the order in which it came.
    pub fn kept(&self) -> &[T] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_is_every_nth_from_the_first_and_at_least_half_of_what_fits(most in 2..40_usize, items in 0..2000_u64) {
            let mut thinned = Thinned::new(most);
            (0..items).for_each(|item| thinned.add(|| item));
            let kept = thinned.kept();
            prop_assert!(kept.len() <= most && kept.len() as u64 >= items.min(most as u64 / 2));
            let stride = kept.get(1).copied().unwrap_or(1);
            prop_assert!(stride.is_power_of_two());
            prop_assert!(kept.iter().zip(0..).all(|(item, index)| *item == index * stride));
            if let Some(last) = kept.last() {
                prop_assert!(items - last <= stride, "the end is covered, too");
            }
        }
    }
}
