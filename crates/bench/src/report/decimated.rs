//! An evenly spread sample of a long series, in bounded memory. Pure.

/// Stores every item at first. When it is full, it removes every second item, and stores only one of two items from then on,
/// then one of four, and so on. The stored items are evenly spread, and the first one is always among them.
#[derive(Debug, Clone)]
pub struct Decimated<T> {
    items: Vec<T>,
    capacity: usize,
    seen: u64,
    /// One of this many items is stored.
    stride: u64,
}

impl<T> Decimated<T> {
    /// Stores at most `capacity` items, and at least half as many once it was full.
    pub fn new(capacity: usize) -> Self {
        Self { items: Vec::new(), capacity: capacity.max(2), seen: 0, stride: 1 }
    }

    /// Adds the next item. `make` is called only if the item is stored.
    pub fn add(&mut self, make: impl FnOnce() -> T) {
        let stored = self.seen.is_multiple_of(self.stride);
        self.seen += 1;
        if !stored {
            return;
        }
        if self.items.len() == self.capacity {
            let mut index = 0;
            self.items.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
            if !(self.seen - 1).is_multiple_of(self.stride) {
                return;
            }
        }
        self.items.push(make());
    }

    /// The stored items, in order.
    pub fn items(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_stored_items_are_every_nth_from_the_first_and_at_least_half_of_the_capacity(most in 2..40_usize, items in 0..2000_u64) {
            let mut decimated = Decimated::new(most);
            (0..items).for_each(|item| decimated.add(|| item));
            let stored = decimated.items();
            prop_assert!(stored.len() <= most && stored.len() as u64 >= items.min(most as u64 / 2));
            let stride = stored.get(1).copied().unwrap_or(1);
            prop_assert!(stride.is_power_of_two());
            prop_assert!(stored.iter().zip(0..).all(|(item, index)| *item == index * stride));
            if let Some(last) = stored.last() {
                prop_assert!(items - last <= stride, "the end is covered");
            }
        }
    }
}
