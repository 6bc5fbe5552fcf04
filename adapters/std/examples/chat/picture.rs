//! The timeline: each call by its start, latency and outcome; the service's phases and the
//! breaker's state as bands.

use core::{error, ops::Range, time::Duration};
use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use steadfast::state::State;

use crate::{
    load::{Outcome, Run},
    report::{Summary, name},
    script::{self, PHASES, Phase},
};

/// One run as it is drawn.
#[derive(Debug)]
pub(crate) struct Scene<'r> {
    pub(crate) title: String,
    pub(crate) run: &'r Run,
    pub(crate) figures: &'r Summary,
    /// Whether there was a breaker and a fallback.
    pub(crate) has_policy: bool,
}

/// Writes the picture to `out`, one panel for each scene, with one time axis.
pub(crate) fn draw(
    out: &Path,
    seed: u64,
    scenes: &[Scene<'_>; 2],
) -> Result<(), Box<dyn error::Error>> {
    let canvas = SVGBackend::new(out, SIZE).into_drawing_area();
    canvas.fill(&WHITE)?;
    canvas.draw(&text(
        "One outage, called twice",
        (LEFT, 40),
        34.0,
        INK,
        Pos::new(HPos::Left, VPos::Bottom),
    ))?;
    let subtitle = format!(
        "Each mark is one call: when it began, and how long its caller waited. \
         The same {} calls in both runs, seed {seed}.",
        scenes.first().map_or(0, |scene| scene.figures.calls),
    );
    canvas.draw(&text(subtitle, (LEFT, 68), 20.0, GREY, Pos::new(HPos::Left, VPos::Bottom)))?;
    let busiest =
        scenes.iter().flat_map(|scene| attempts_per_bar(scene.run)).max().unwrap_or_default();
    for (scene, top) in scenes.iter().zip([104, 548]) {
        Panel { canvas: &canvas, top, busiest }.draw(scene)?;
    }
    footer(&canvas, busiest)?;
    canvas.present()?;
    Ok(())
}

struct Panel<'c, 'b> {
    canvas: &'c DrawingArea<SVGBackend<'b>, Shift>,
    top: i32,
    /// What the tallest bar stands for, in both panels.
    busiest: usize,
}

type Drawn = Result<(), Box<dyn error::Error>>;

impl Panel<'_, '_> {
    fn draw(&self, scene: &Scene<'_>) -> Drawn {
        self.heading(scene)?;
        self.phases()?;
        self.axes(scene)?;
        // The many first, so that the few stay visible.
        for outcome in
            [Outcome::FellBackAtOnce, Outcome::Answered, Outcome::Failed, Outcome::FellBack]
        {
            for call in scene.run.calls.iter().filter(|call| call.outcome == outcome) {
                self.mark((x(call.started), self.y(call.latency)), outcome, 0.75)?;
            }
        }
        self.attempts(scene.run)?;
        if scene.has_policy {
            self.breaker(scene.run)?;
        }
        Ok(())
    }

    /// The title, and what the marks mean with how many there are of each.
    fn heading(&self, scene: &Scene<'_>) -> Drawn {
        let base = self.top + 14;
        self.write(&scene.title, (LEFT, base), 24.0, INK, HPos::Left)?;
        let figures = scene.figures;
        let mut legend = vec![(Outcome::Answered, "succeeded", figures.answered)];
        if scene.has_policy {
            legend.push((Outcome::FellBack, "by fallback, after trying", figures.fell_back));
            legend.push((
                Outcome::FellBackAtOnce,
                "by fallback, at once",
                figures.fell_back_at_once,
            ));
        }
        legend.push((Outcome::Failed, "failed", figures.failed));
        let entries: Vec<_> = legend
            .iter()
            .map(|(outcome, meaning, count)| (*outcome, format!("{meaning} {count}")))
            .collect();
        let mut left = RIGHT - entries.iter().map(|(_, entry)| legend_width(entry)).sum::<i32>();
        for (outcome, entry) in entries {
            self.mark((left + 8, base), outcome, 1.0)?;
            self.write(&entry, (left + 20, base), 20.0, INK, HPos::Left)?;
            left += legend_width(&entry);
        }
        Ok(())
    }

    fn phases(&self) -> Drawn {
        for (begins, act) in script::scenes(&PHASES) {
            let ends = begins + act.lasts;
            let area = [(x(begins), self.plot().start), (x(ends), self.strips_end())];
            self.canvas.draw(&Rectangle::new(area, tint(act.phase).filled()))?;
            let middle = (x(begins) + x(ends)) / 2;
            self.write(
                act.phase.label(),
                (middle, self.plot().start + 16),
                19.0,
                GREY,
                HPos::Center,
            )?;
        }
        for (begins, _) in script::scenes(&PHASES).skip(1) {
            self.line(
                [(x(begins), self.plot().start), (x(begins), self.strips_end())],
                WHITE.to_rgba(),
            )?;
        }
        Ok(())
    }

    fn axes(&self, scene: &Scene<'_>) -> Drawn {
        for (latency, label) in LATENCIES {
            let y = self.y(Duration::from_millis(latency));
            self.line([(LEFT, y), (RIGHT, y)], GREY.mix(0.25))?;
            self.write(label, (LEFT - 10, y), 18.0, GREY, HPos::Right)?;
        }
        let bottom = if scene.has_policy { self.breaker_strip().end } else { self.strips_end() };
        for second in (0..=script::length().as_secs()).step_by(2) {
            let x = x(Duration::from_secs(second));
            self.line([(x, bottom), (x, bottom + 6)], GREY.to_rgba())?;
            let label = if second == 0 { "0 s".to_owned() } else { second.to_string() };
            self.write(&label, (x, bottom + 18), 18.0, GREY, HPos::Center)?;
        }
        Ok(())
    }

    /// How many requests to the large model went out, as bars.
    fn attempts(&self, run: &Run) -> Drawn {
        let strip = self.attempts_strip();
        let middle = (strip.start + strip.end) / 2;
        self.write("on the wire", (LEFT - 10, middle), 18.0, GREY, HPos::Right)?;
        let tallest = strip.end - strip.start;
        for (count, begins) in
            attempts_per_bar(run).into_iter().zip((0..).map(|number| BAR * number))
        {
            let height = tallest * i32::try_from(count)? / i32::try_from(self.busiest.max(1))?;
            let bar = [(x(begins) + 1, strip.end - height), (x(begins + BAR), strip.end)];
            self.canvas.draw(&Rectangle::new(bar, INK.mix(0.7).filled()))?;
        }
        Ok(())
    }

    fn breaker(&self, run: &Run) -> Drawn {
        let strip = self.breaker_strip();
        let middle = (strip.start + strip.end) / 2;
        self.write("breaker", (LEFT - 10, middle), 18.0, GREY, HPos::Right)?;
        let begin = (Duration::ZERO, State::Closed);
        let states = core::iter::once(begin).chain(run.breaker.iter().copied());
        let ends = run.breaker.iter().map(|(at, _)| *at).chain([script::length()]);
        let mut bands: Vec<_> = states.zip(ends).collect();
        // Last, and never thinner than an eye can see: a probe may take less than a millisecond.
        bands.sort_by_key(|((_, state), _)| *state == State::HalfOpen);
        for ((begins, state), ends) in bands {
            let area = [(x(begins), strip.start), (x(ends).max(x(begins) + 3), strip.end)];
            self.canvas.draw(&Rectangle::new(area, hue(state).filled()))?;
        }
        Ok(())
    }

    fn mark(&self, at: (i32, i32), outcome: Outcome, opacity: f64) -> Drawn {
        let style = colour(outcome).mix(opacity).filled();
        match outcome {
            Outcome::Answered => self.canvas.draw(&Circle::new(at, 4, style))?,
            Outcome::FellBack | Outcome::FellBackAtOnce => {
                self.canvas.draw(&TriangleMarker::new(at, 5, style))?
            }
            Outcome::Failed => self.canvas.draw(&Cross::new(at, 4, style.stroke_width(2)))?,
        }
        Ok(())
    }

    fn line(&self, ends: [(i32, i32); 2], colour: RGBAColor) -> Drawn {
        Ok(self.canvas.draw(&PathElement::new(ends, colour.stroke_width(1)))?)
    }

    fn write(&self, what: &str, at: (i32, i32), size: f64, colour: RGBColor, side: HPos) -> Drawn {
        Ok(self.canvas.draw(&text(what, at, size, colour, Pos::new(side, VPos::Center)))?)
    }

    fn y(&self, latency: Duration) -> i32 {
        let millis = (latency.as_secs_f64() * 1e3).clamp(SHORTEST, LONGEST);
        let share = (millis / SHORTEST).ln() / (LONGEST / SHORTEST).ln();
        let plot = self.plot();
        plot.end - (share * f64::from(plot.end - plot.start)).round() as i32
    }

    const fn plot(&self) -> Range<i32> {
        self.top + 36..self.top + 330
    }

    const fn attempts_strip(&self) -> Range<i32> {
        self.plot().end + 6..self.plot().end + 46
    }

    const fn strips_end(&self) -> i32 {
        self.attempts_strip().end
    }

    const fn breaker_strip(&self) -> Range<i32> {
        self.strips_end() + 6..self.strips_end() + 24
    }
}

/// What the strips below the panels say.
fn footer(canvas: &DrawingArea<SVGBackend<'_>, Shift>, busiest: usize) -> Drawn {
    let (middle, start) = (SIZE.1 as i32 - 22, Pos::new(HPos::Left, VPos::Center));
    let note = format!(
        "On the wire: attempts on the large model, each {} ms, {busiest} at most. Breaker:",
        BAR.as_millis(),
    );
    canvas.draw(&text(note, (LEFT, middle), 18.0, GREY, start))?;
    for (state, left) in [(State::Closed, 820), (State::Open, 940), (State::HalfOpen, 1_050)] {
        canvas.draw(&Rectangle::new(
            [(left, middle - 8), (left + 24, middle + 8)],
            hue(state).filled(),
        ))?;
        canvas.draw(&text(name(state), (left + 34, middle), 18.0, GREY, start))?;
    }
    Ok(())
}

fn attempts_per_bar(run: &Run) -> Vec<usize> {
    let begins = (0..).map(|number| BAR * number).take_while(|at| *at < script::length());
    begins
        .map(|begins| run.attempts.iter().filter(|at| (begins..begins + BAR).contains(*at)).count())
        .collect()
}

/// Room for a mark and its meaning in any common font.
const fn legend_width(entry: &str) -> i32 {
    entry.len() as i32 * 11 + 44
}

fn text<'t>(
    what: impl Into<String>,
    at: (i32, i32),
    pixels: f64,
    colour: RGBColor,
    pos: Pos,
) -> Text<'t, (i32, i32), String> {
    // The backend divides the size by as much.
    let font = FontDesc::new(FontFamily::SansSerif, pixels * 1.24, FontStyle::Normal);
    Text::new(what.into(), at, TextStyle { font, color: colour.to_backend_color(), pos })
}

fn x(at: Duration) -> i32 {
    let share = at.as_secs_f64() / script::length().as_secs_f64();
    LEFT + (share.min(1.0) * f64::from(RIGHT - LEFT)).round() as i32
}

const fn tint(phase: Phase) -> RGBColor {
    match phase {
        Phase::Healthy | Phase::Recovered => RGBColor(236, 247, 238),
        Phase::Slow => RGBColor(253, 247, 222),
        Phase::RateLimited => RGBColor(254, 236, 216),
        Phase::Overloaded => RGBColor(252, 226, 222),
        Phase::Silent => RGBColor(240, 230, 246),
        Phase::Halting => RGBColor(226, 230, 246),
        Phase::Resetting => RGBColor(250, 226, 236),
        Phase::Refusing => RGBColor(230, 230, 234),
    }
}

/// Told apart by the colour-blind too; the shapes help.
const fn colour(outcome: Outcome) -> RGBColor {
    match outcome {
        Outcome::Answered => RGBColor(0, 135, 100),
        Outcome::FellBack => RGBColor(222, 130, 0),
        Outcome::FellBackAtOnce => RGBColor(40, 110, 190),
        Outcome::Failed => RGBColor(200, 30, 30),
    }
}

const fn hue(state: State) -> RGBColor {
    match state {
        State::Closed => RGBColor(130, 200, 165),
        State::Open => RGBColor(205, 70, 60),
        State::HalfOpen => RGBColor(245, 190, 60),
    }
}

const SIZE: (u32, u32) = (1_440, 1_030);
const LEFT: i32 = 120;
const RIGHT: i32 = 1_420;
const INK: RGBColor = RGBColor(35, 35, 40);
const GREY: RGBColor = RGBColor(95, 95, 105);
/// Ends of the latency axis, in milliseconds.
const SHORTEST: f64 = 0.05;
const LONGEST: f64 = 8_000.0;
const LATENCIES: [(u64, &str); 4] = [(1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1_000, "1 s")];
const BAR: Duration = Duration::from_millis(250);
