//! The axes, labels and frame of all charts. Pure.
//!
//! The drawing is stretched to the available width. Labels are HTML text beside it, so they have the same size on a phone.
//! Strokes do not scale, so that lines stay thin and dots round.

use std::fmt::Write;

use super::axis::Axis;
use super::escape::Text;

/// The width and height of the drawing in its own units.
const SIDE: f64 = 1000.0;

/// A chart under construction.
pub(super) struct Plot {
    height: u32,
    drawing: String,
    labels: String,
    /// The description for screen readers.
    description: String,
}

impl Plot {
    /// A chart of this height in pixels.
    pub(super) fn new(height: u32, description: &str) -> Self {
        Self { height, drawing: String::new(), labels: String::new(), description: description.to_owned() }
    }

    /// Draws the labels and lines of a vertical axis, with its unit above it.
    pub(super) fn y(&mut self, axis: Axis, unit: &str) {
        self.labels.push_str(&format!("<span class='unit'>{}</span>", Text(unit)));
        for (value, label) in axis.labels() {
            let place = 1.0 - axis.place(value);
            self.y_label(place, &label);
            self.draw(format_args!("<path class='grid' d='M0 {:.1}h{SIDE}'/>", place * SIDE));
        }
    }

    /// Draws one label of the vertical axis, at a position from the top.
    pub(super) fn y_label(&mut self, place: f64, label: &str) {
        self.label("y", "top", place, label);
    }

    /// Draws the labels and lines of a horizontal axis. The unit is at the last label.
    pub(super) fn x(&mut self, mut places: Vec<(f64, String)>, unit: &str) {
        if let Some((_, last)) = places.last_mut() {
            last.push_str(unit);
        }
        for (place, label) in places {
            // the last one ends within the card
            let class = if place > 0.94 { "x end" } else { "x" };
            self.label(class, "left", place, &label);
            self.draw(format_args!("<path class='grid' d='M{:.1} 0v{SIDE}'/>", place * SIDE));
        }
    }

    /// Draws a path in the drawing's units, with a CSS class.
    pub(super) fn path(&mut self, class: &str, data: &str) {
        self.draw(format_args!("<path class='{class}' d='{data}'/>"));
    }

    /// The figure with its caption.
    pub(super) fn figure(self, caption: &str) -> String {
        format!(
            "<figure><div class='plot' style='height:{}px'><svg viewBox='0 0 {SIDE} {SIDE}' preserveAspectRatio='none' role='img' \
             aria-label='{}'>{}</svg>{}</div><figcaption class='note'>{}</figcaption></figure>",
            self.height,
            Text(&self.description),
            self.drawing,
            self.labels,
            Text(caption)
        )
    }

    fn label(&mut self, class: &str, side: &str, place: f64, label: &str) {
        // writing to a String cannot fail
        let _ =
            write!(self.labels, "<span class='{class}' style='{side}:{:.2}%'>{}</span>", place * 100.0, Text(label));
    }

    fn draw(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.drawing.write_fmt(element);
    }
}

/// A point of the drawing, from positions between 0 and 1, the vertical one from below.
pub(super) fn point(x: f64, y: f64) -> String {
    format!("{} {}", unit(x), unit(1.0 - y))
}

/// A position between 0 and 1 in the drawing's units, rounded to a tenth.
pub(super) fn unit(place: f64) -> String {
    let text = format!("{:.1}", place * SIDE);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The labels of an axis with their positions.
pub(super) fn places(axis: Axis) -> Vec<(f64, String)> {
    axis.labels().into_iter().map(|(value, label)| (axis.place(value), label)).collect()
}
