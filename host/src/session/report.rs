//! The Markdown report of a session, from the same value as its JSON.
//!
//! Everything from outside is cleaned first and then placed as code, in a span or a block, where nothing is markup. Only
//! our own constant words are text.

use super::{ActiveSkill, RunResult, StopReason, TurnResult};
use crate::clean;
use crate::record::Denial;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Tag, TagEnd};

/// Longest output of a turn in a report, in characters.
const OUTPUT: usize = 20_000;

/// The report.
///
/// # Errors
/// Never for a result of [`super::Session::finish`]; the writer's error is passed on.
pub fn markdown(run: &RunResult) -> Result<String, std::fmt::Error> {
    let mut out = Writer::default();
    out.heading(HeadingLevel::H1, "Palisade session");
    out.list(&[
        ("session", run.session_id.to_string()),
        ("created", run.created.clone()),
        ("profile", run.profile.clone()),
        ("turns", run.turns.len().to_string()),
        ("tokens", format!("{} in, {} out", run.usage.input_tokens, run.usage.output_tokens)),
        ("ended", reason(run.stop_reason).to_owned()),
    ]);
    out.heading(HeadingLevel::H2, "Subsystems");
    let rows: Vec<(&str, String)> =
        run.init.iter().map(|(name, s)| (*name, format!("{}: {}", if s.enabled { "on" } else { "off" }, s.reason))).collect();
    out.list(&rows);
    if let Some(skill) = &run.skill {
        out.skill(skill);
    }
    for (number, turn) in run.turns.iter().enumerate() {
        out.turn(number + 1, turn);
    }
    out.heading(HeadingLevel::H2, "Denials");
    if run.permission_denials.is_empty() {
        out.paragraph("none");
    }
    for denial in &run.permission_denials {
        out.denial(denial);
    }
    let mut text = String::new();
    // A fence longer than any run of backticks inside a block.
    let fence = pulldown_cmark_to_cmark::calculate_code_block_token_count(out.events.iter()).unwrap_or(3);
    let options = pulldown_cmark_to_cmark::Options { code_block_token_count: fence.max(3), ..pulldown_cmark_to_cmark::Options::default() };
    pulldown_cmark_to_cmark::cmark_with_options(out.events.iter(), &mut text, options).map_err(|_| std::fmt::Error)?;
    text.push('\n');
    Ok(text)
}

fn reason(stop: StopReason) -> &'static str {
    match stop {
        StopReason::Running => "running",
        StopReason::Completed => "completed",
        StopReason::MaxTurnsReached => "the turn limit was reached",
        StopReason::MaxBudgetReached => "the token limit was reached",
        StopReason::Cancelled => "cancelled",
    }
}

#[derive(Default)]
struct Writer {
    events: Vec<Event<'static>>,
}

impl Writer {
    fn wrap(&mut self, tag: Tag<'static>, inside: impl FnOnce(&mut Self)) {
        let end: TagEnd = tag.to_end();
        self.events.push(Event::Start(tag));
        inside(self);
        self.events.push(Event::End(end));
    }

    /// Our own words, or a number.
    fn text(&mut self, text: &str) {
        self.events.push(Event::Text(text.to_owned().into()));
    }

    /// Words from outside.
    fn code(&mut self, text: &str) {
        let clean = crate::redact::line(text, clean::TEXT);
        // A span of spaces alone is none.
        if !clean.trim().is_empty() {
            self.events.push(Event::Code(clean.trim().to_owned().into()));
        }
    }

    fn heading(&mut self, level: HeadingLevel, text: &str) {
        self.wrap(Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() }, |w| w.text(text));
    }

    fn paragraph(&mut self, text: &str) {
        self.wrap(Tag::Paragraph, |w| w.text(text));
    }

    fn list(&mut self, rows: &[(&str, String)]) {
        self.wrap(Tag::List(None), |w| {
            for (name, value) in rows {
                w.wrap(Tag::Item, |w| {
                    w.text(&format!("{name}: "));
                    w.code(value);
                });
            }
        });
    }

    fn block(&mut self, text: &str) {
        let clean = crate::redact::text(&clean::block(text)).into_owned();
        let mut shown: String = clean.chars().take(OUTPUT).collect();
        if shown.len() < clean.len() {
            shown.push_str("\n… (cut)");
        }
        shown.push('\n');
        self.wrap(Tag::CodeBlock(CodeBlockKind::Fenced("text".into())), |w| w.events.push(Event::Text(shown.into())));
    }

    fn skill(&mut self, skill: &ActiveSkill) {
        self.heading(HeadingLevel::H2, "Skill");
        let tools = skill.tools.as_ref().map_or_else(|| "all".to_owned(), |tools| tools.join(" "));
        let tools = if tools.is_empty() { "none".to_owned() } else { tools };
        let mut rows = vec![
            ("name", skill.name.clone()),
            ("from", skill.source.clone()),
            ("description", skill.description.clone()),
            ("leaves the tools", tools),
        ];
        rows.extend((!skill.ignored.is_empty()).then(|| ("names that are no tool here", skill.ignored.join(" "))));
        self.list(&rows);
        self.paragraph("Its text, which its author wrote:");
        self.block(&skill.text);
    }

    fn turn(&mut self, number: usize, turn: &TurnResult) {
        self.heading(HeadingLevel::H2, &format!("Turn {number}"));
        self.paragraph("Prompt:");
        self.block(&turn.prompt);
        if !turn.matched.is_empty() {
            self.wrap(Tag::List(None), |w| {
                for matched in &turn.matched {
                    w.wrap(Tag::Item, |w| {
                        w.code(&matched.tool);
                        w.text(&format!(" (score {}) ", matched.score));
                        w.code(&matched.note);
                    });
                }
            });
        }
        self.paragraph("Output:");
        self.block(&turn.output);
    }

    fn denial(&mut self, denial: &Denial) {
        self.wrap(Tag::Paragraph, |w| {
            w.text(&format!("#{} ", denial.number));
            w.code(&denial.tool);
            w.text(" by ");
            w.code(&denial.rule);
            w.text(", from ");
            w.code(&denial.source);
            w.text(": ");
            w.code(&denial.reason);
            match &denial.remedy {
                Some(remedy) => {
                    w.text(". To allow it: ");
                    w.code(remedy);
                }
                None => w.text(". Nothing allows it."),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Matched, Usage};
    use proptest::prelude::*;
    use pulldown_cmark::{Options, Parser};
    use uuid::Uuid;

    fn run(prompt: &str, output: &str) -> RunResult {
        let turn = TurnResult {
            prompt: prompt.to_owned(),
            matched: vec![Matched { tool: prompt.to_owned(), score: 2, note: prompt.to_owned() }],
            calls: Vec::new(),
            output: output.to_owned(),
            permission_denials: Vec::new(),
            usage: Usage::default(),
            stop_reason: StopReason::Completed,
        };
        RunResult {
            session_id: Uuid::nil(),
            created: "2026-01-01T00:00:00Z".to_owned(),
            profile: "trusted".to_owned(),
            trusted: true,
            init: std::collections::BTreeMap::new(),
            skill: Some(ActiveSkill {
                name: prompt.to_owned(),
                source: prompt.to_owned(),
                description: output.to_owned(),
                text: output.to_owned(),
                tools: Some(vec![prompt.to_owned()]),
                ignored: vec![output.to_owned()],
            }),
            turns: vec![turn],
            permission_denials: Vec::new(),
            usage: Usage::default(),
            stop_reason: StopReason::Completed,
            session_path: None,
        }
    }

    /// What a reader sees that is not plain text, code or the report's own structure.
    fn foreign(report: &str) -> Vec<String> {
        let structure = |event: &Event<'_>| match event {
            Event::Html(_) | Event::InlineHtml(_) | Event::Rule | Event::FootnoteReference(_) | Event::TaskListMarker(_) => false,
            Event::Start(tag) => matches!(tag, Tag::Heading { .. } | Tag::Paragraph | Tag::List(None) | Tag::Item | Tag::CodeBlock(_)),
            _ => true,
        };
        Parser::new_ext(report, Options::empty()).filter(|e| !structure(e)).map(|e| format!("{e:?}")).collect()
    }

    #[test]
    fn markup_in_a_prompt_or_output_stays_text() {
        let evil = "<script>x</script> [a](javascript:b) **bold** `code` # head\n- item\n| t |";
        let report = markdown(&run(evil, "```\n# escaped?\n<b>")).unwrap();
        assert_eq!(foreign(&report), [] as [String; 0], "{report}");
    }

    proptest! {
        #[test]
        fn no_text_from_outside_becomes_markup(prompt in "[ -~\\n]{0,40}", output in "[`~#<>a\\n ]{0,40}") {
            let report = markdown(&run(&prompt, &output)).unwrap();
            let got = foreign(&report);
            prop_assert!(got.is_empty(), "{got:?}\n{report}");
            let headings = Parser::new(&report).filter(|e| matches!(e, Event::Start(Tag::Heading { .. }))).count();
            prop_assert_eq!(headings, 5, "{}", report);
        }
    }
}
