//! Plugins with tools as a test writes them, so that each can have one fault and no other.

use crate::raw;

/// A tool as its component defines it.
#[derive(Debug, Clone, Copy)]
pub struct Tool<'t> {
    /// The tool part of its id.
    pub name: &'t str,
    /// A short name for people.
    pub title: Option<&'t str>,
    /// What it does.
    pub description: &'t str,
    /// The schema of its arguments.
    pub input: &'t str,
    /// The schema of its result.
    pub output: Option<&'t str>,
}

/// Nothing is wrong with it.
pub const GOOD: Tool<'_> = Tool {
    name: "go",
    title: Some("Go"),
    description: "Says that all is fine.",
    input: r#"{"type":"object","properties":{"text":{"type":"string","description":"Any text."}},"required":["text"],"additionalProperties":false}"#,
    output: None,
};

/// A component of some tools, which all answer alike.
#[derive(Debug, Clone, Copy)]
pub struct Plugin<'t> {
    /// The tools.
    pub tools: &'t [Tool<'t>],
    /// Imports of functions.
    pub imports: &'t str,
    /// Runs at the start of `definitions`; `$list` is the address of the first definition, whose parts are as in the WIT.
    pub definitions: &'t str,
    /// Runs at the start of `call`.
    pub call: &'t str,
    /// What `call` answers: text, or where there is an output schema JSON.
    pub answer: &'t str,
    /// Whether the answer is an error.
    pub fails: bool,
}

impl Default for Plugin<'_> {
    fn default() -> Self {
        Self { tools: &[GOOD], imports: "", definitions: "", call: "", answer: "fine", fails: false }
    }
}

/// Where the data begins.
const DATA: usize = 1024;

/// Bytes of memory, as they are laid out.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Memory {
    fn put(&mut self, bytes: &[u8]) -> usize {
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        let at = DATA + self.0.len();
        self.0.extend(bytes);
        at
    }

    /// Address and length of a text.
    fn text(&mut self, text: &str) -> Vec<u8> {
        words(&[self.put(text.as_bytes()), text.len()])
    }

    fn option(&mut self, text: Option<&str>) -> Vec<u8> {
        text.map_or_else(|| vec![0; 12], |text| [words(&[1]), self.text(text)].concat())
    }
}

fn words(words: &[usize]) -> Vec<u8> {
    words.iter().flat_map(|word| u32::try_from(*word).expect("an address").to_le_bytes()).collect()
}

impl Plugin<'_> {
    /// The component.
    ///
    /// # Panics
    /// When a text of it is no text of a module.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let mut memory = Memory::default();
        let definitions: Vec<u8> = self
            .tools
            .iter()
            .flat_map(|tool| {
                let (name, title) = (memory.text(tool.name), memory.option(tool.title));
                let (description, input) = (memory.text(tool.description), memory.text(tool.input));
                // No annotations.
                [name, title, description, input, memory.option(tool.output), vec![0; 8]].concat()
            })
            .collect();
        let first = memory.put(&definitions);
        let list = memory.put(&words(&[first, self.tools.len()]));
        let text = memory.text(self.answer);
        let json = usize::from(self.tools.iter().any(|tool| tool.output.is_some()));
        let content = memory.put(&[words(&[json]), text.clone(), vec![0; 8]].concat());
        let answer = if self.fails { [words(&[1]), text].concat() } else { words(&[0, content, 1]) };
        let answer = memory.put(&answer);
        let end = (DATA + memory.0.len()).next_multiple_of(16);
        let data: String = memory.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let Self { imports, definitions, call, .. } = self;
        raw::encoded(&format!(
            r#"(module
                {imports}
                (memory (export "memory") {pages})
                (data (i32.const {DATA}) "{data}")
                (global $list i32 (i32.const {first}))
                (global $next (mut i32) (i32.const {end}))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local i32)
                    (local.set 4 (global.get $next))
                    (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
                    (block $enough (loop $more
                        (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
                        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
                        (br $more)))
                    (local.get 4))
                (func (export "palisade:plugin/tools@0.1.0#definitions") (result i32) {definitions} (i32.const {list}))
                (func (export "palisade:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32) {call} (i32.const {answer}))
            )"#,
            pages = 1 + end / 65_536
        ))
    }
}
