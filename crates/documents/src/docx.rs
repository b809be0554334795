//! The text of a Word document (`.docx`), with the marks of Markdown.
//!
//! Source: ECMA-376 (Office Open XML). Read are paragraphs, headings, lists, tables, text boxes,
//! footnotes and endnotes; left out are headers, footers, comments, deleted text and images. Parts are
//! read as streams, so a part that unpacks to gigabytes is cut off without being held. Entities beyond
//! XML's five are not expanded: the format has no document types.

use std::collections::HashMap;
use std::io::{BufReader, Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::markdown::Markdown;
use crate::{Error, Note, Watch};

/// The most bytes that one part may unpack to: far more than any text within [`crate::Options`] needs.
const MAX_PART_BYTES: u64 = 256 << 20;
/// The largest part that is read before the text: relations, styles and numbering.
const MAX_TABLE_BYTES: u64 = 16 << 20;
/// Elements that are read between two looks at the clock.
const EVENTS_PER_CHECK: usize = 4096;
/// The deepest level of a list.
const MAX_LIST_LEVEL: usize = 8;

type Archive = ZipArchive<Cursor<Vec<u8>>>;

/// The text of a document.
pub(crate) fn text(
    bytes: Vec<u8>,
    watch: &Watch<'_>,
    notes: &mut Vec<Note>,
) -> Result<String, Error> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(not_unpacked)?;
    let main = related(&mut archive, "_rels/.rels", "", "/officeDocument", watch)?
        .unwrap_or_else(|| "word/document.xml".to_owned());
    let (folder, file) = main.rsplit_once('/').unwrap_or(("", &main));
    let relations = format!("{folder}/_rels/{file}.rels");
    let relations = relations.trim_start_matches('/');
    let mut part = |kind: &str| related(&mut archive, relations, folder, kind, watch);
    let (styles, numbering) = (part("/styles")?, part("/numbering")?);
    let notes_parts = [part("/footnotes")?, part("/endnotes")?];

    let mut body = Body::new(watch);
    if let Some(styles) = styles {
        body.headings = heading_styles(&mut archive, &styles, watch)?;
    }
    if let Some(numbering) = numbering {
        body.lists = list_formats(&mut archive, &numbering, watch)?;
    }
    each_event(&mut archive, &main, MAX_PART_BYTES, watch, &mut |event| body.event(event))?;
    for part in notes_parts.into_iter().flatten() {
        body.out.block();
        each_event(&mut archive, &part, MAX_PART_BYTES, watch, &mut |event| body.event(event))?;
    }
    if body.n_images > 0 {
        notes.push(Note::Images { n_images: body.n_images });
    }
    Ok(body.out.finish())
}

/// Gives each event of a part to `take`. A part that is missing has no events.
fn each_event(
    archive: &mut Archive,
    part: &str,
    limit_bytes: u64,
    watch: &Watch<'_>,
    take: &mut dyn FnMut(&Event<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = match archive.by_name(part) {
        Err(ZipError::FileNotFound) => return Ok(()),
        file => file.map_err(not_unpacked)?,
    };
    // One byte more, which tells a part at the limit from one beyond it.
    let mut reader = Reader::from_reader(BufReader::new(file.take(limit_bytes + 1)));
    reader.config_mut().check_end_names = false;
    let (mut buffer, mut n_events) = (Vec::new(), 0_usize);
    loop {
        n_events += 1;
        if n_events.is_multiple_of(EVENTS_PER_CHECK) {
            watch.check()?;
        }
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        if reader.buffer_position() > limit_bytes {
            return Err(Error::TooLarge { limit_bytes });
        }
        match event {
            Ok(Event::Eof) => return Ok(()),
            Ok(event) => take(&event)?,
            Err(_) => return Err(Error::Damaged { what: "a part is not XML" }),
        }
    }
}

/// The part to which a relation of this kind leads, if there is one.
fn related(
    archive: &mut Archive,
    relations: &str,
    folder: &str,
    kind: &str,
    watch: &Watch<'_>,
) -> Result<Option<String>, Error> {
    let mut found = None;
    each_event(archive, relations, MAX_TABLE_BYTES, watch, &mut |event| {
        if let Some(relation) = element(event, "Relationship")
            && attribute(relation, "Type").is_some_and(|it| it.ends_with(kind))
            && let Some(target) = attribute(relation, "Target")
        {
            found = Some(match target.strip_prefix('/') {
                Some(target) => target.to_owned(),
                None if folder.is_empty() => target,
                None => format!("{folder}/{target}"),
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// The levels of the styles that are headings, by the styles' ids.
fn heading_styles(
    archive: &mut Archive,
    part: &str,
    watch: &Watch<'_>,
) -> Result<HashMap<String, usize>, Error> {
    let (mut headings, mut style) = (HashMap::new(), None);
    each_event(archive, part, MAX_TABLE_BYTES, watch, &mut |event| {
        if let Some(start) = element(event, "style") {
            style = attribute(start, "styleId");
        } else if let Some(name) = element(event, "name")
            && let Some(id) = &style
            && let Some(level) = attribute(name, "val").and_then(|name| heading_level(&name))
        {
            headings.insert(id.clone(), level);
        } else if let Some(level) = element(event, "outlineLvl")
            && let Some(id) = &style
            && let Some(level) = number(level, "val").filter(|level| *level < 9)
        {
            headings.entry(id.clone()).or_insert(level as usize + 1);
        }
        Ok(())
    })?;
    Ok(headings)
}

/// The level of a style by its name, which is English in every language's files.
fn heading_level(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "title" => Some(1),
        "subtitle" => Some(2),
        name => name.strip_prefix("heading ")?.trim().parse().ok().filter(|level| *level < 10),
    }
}

/// Which levels of which lists have numbers, by the list's number and the level.
fn list_formats(
    archive: &mut Archive,
    part: &str,
    watch: &Watch<'_>,
) -> Result<HashMap<(u64, usize), bool>, Error> {
    let mut abstracts: HashMap<(u64, usize), bool> = HashMap::new();
    let (mut numbers, mut current, mut level, mut list) = (Vec::new(), None, 0, None);
    each_event(archive, part, MAX_TABLE_BYTES, watch, &mut |event| {
        if let Some(start) = element(event, "abstractNum") {
            current = number(start, "abstractNumId");
        } else if let Some(start) = element(event, "lvl") {
            level = list_level(number(start, "ilvl"));
        } else if let Some(format) = element(event, "numFmt")
            && let Some(id) = current
        {
            let format = attribute(format, "val");
            abstracts.insert((id, level), !matches!(format.as_deref(), Some("bullet" | "none")));
        } else if let Some(start) = element(event, "num") {
            (list, current) = (number(start, "numId"), None);
        } else if let Some(reference) = element(event, "abstractNumId")
            && let (Some(list), Some(id)) = (list, number(reference, "val"))
        {
            numbers.push((list, id));
        }
        Ok(())
    })?;
    let mut formats = HashMap::new();
    for (list, id) in numbers {
        for level in 0..=MAX_LIST_LEVEL {
            if let Some(has_number) = abstracts.get(&(id, level)) {
                formats.insert((list, level), *has_number);
            }
        }
    }
    Ok(formats)
}

fn list_level(level: Option<u64>) -> usize {
    level.map_or(0, |level| usize::try_from(level).unwrap_or(MAX_LIST_LEVEL).min(MAX_LIST_LEVEL))
}

/// The body of a document while it is read.
struct Body<'a> {
    watch: &'a Watch<'a>,
    out: Markdown,
    headings: HashMap<String, usize>,
    lists: HashMap<(u64, usize), bool>,
    /// The next number of each list's levels.
    counters: HashMap<(u64, usize), u64>,
    paragraph: Paragraph,
    /// The element that is left out, and how often it is open.
    skipped: Option<(&'static str, usize)>,
    /// Whether the characters are text: within `w:t` or `m:t`.
    is_text: bool,
    /// Whether the last paragraph with text was an item of a list.
    was_item: bool,
    /// The footnote or endnote whose text is to begin.
    note: Option<u64>,
    n_images: usize,
}

/// The properties of a paragraph, which stand before its text.
#[derive(Default)]
struct Paragraph {
    heading: Option<usize>,
    list: Option<u64>,
    level: usize,
    /// Whether its text has begun.
    is_begun: bool,
}

impl<'a> Body<'a> {
    fn new(watch: &'a Watch<'a>) -> Self {
        Self {
            watch,
            out: Markdown::new(),
            headings: HashMap::new(),
            lists: HashMap::new(),
            counters: HashMap::new(),
            paragraph: Paragraph::default(),
            skipped: None,
            is_text: false,
            was_item: false,
            note: None,
            n_images: 0,
        }
    }

    fn event(&mut self, event: &Event<'_>) -> Result<(), Error> {
        match event {
            Event::Start(start) => self.open(start),
            Event::Empty(start) => {
                self.open(start);
                self.close(local(start.name().as_ref()));
            }
            Event::End(end) => self.close(local(end.name().as_ref())),
            Event::Text(text) if self.is_shown() => self.write(&text.xml10_content()),
            Event::CData(text) if self.is_shown() => self.write(&text.xml10_content()),
            Event::GeneralRef(reference) if self.is_shown() => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    self.write(c.encode_utf8(&mut [0; 4]));
                } else if let Some(text) = predefined(&reference.xml10_content()) {
                    self.write(text);
                }
            }
            _ => {}
        }
        self.watch.check_text(self.out.len())
    }

    fn is_shown(&self) -> bool {
        self.is_text && self.skipped.is_none()
    }

    fn write(&mut self, text: &str) {
        if !std::mem::replace(&mut self.paragraph.is_begun, true) {
            self.begin();
        }
        self.out.verbatim(text);
    }

    /// Begins the paragraph's text.
    fn begin(&mut self) {
        let Paragraph { heading, list, level, .. } = self.paragraph;
        // Items of a list stand below each other, other paragraphs apart.
        let is_item = list.is_some() && heading.is_none();
        if !std::mem::replace(&mut self.was_item, is_item) || !is_item {
            self.out.block();
        }
        if let Some(id) = self.note.take() {
            self.out.verbatim(&format!("[^{id}]: "));
        }
        match (heading, list) {
            (Some(heading), _) => self.out.heading(heading),
            (None, Some(list)) => {
                let number = self.next_number(list, level);
                self.out.item(level, number);
            }
            (None, None) => {}
        }
    }

    /// The number of the next item; `None` in lists without numbers.
    fn next_number(&mut self, list: u64, level: usize) -> Option<u64> {
        for deeper in level + 1..=MAX_LIST_LEVEL {
            self.counters.remove(&(list, deeper));
        }
        let has_number = self.lists.get(&(list, level)).copied().unwrap_or(false);
        let counter = self.counters.entry((list, level)).or_insert(0);
        *counter += 1;
        has_number.then_some(*counter)
    }

    fn open(&mut self, start: &BytesStart<'_>) {
        let name = start.name();
        let name = local(name.as_ref());
        if let Some((skipped, depth)) = &mut self.skipped {
            *depth += usize::from(name == *skipped);
            return;
        }
        match name {
            // Deleted or moved text, and what older programs show instead of a drawing.
            "del" => self.skipped = Some(("del", 1)),
            "moveFrom" => self.skipped = Some(("moveFrom", 1)),
            "Fallback" => self.skipped = Some(("Fallback", 1)),
            "p" => {
                self.paragraph = Paragraph::default();
                self.out.line();
            }
            "pStyle" => {
                let style = attribute(start, "val").unwrap_or_default();
                self.paragraph.heading = self.headings.get(&style).copied();
            }
            "outlineLvl" => {
                let level = number(start, "val").filter(|level| *level < 9);
                self.paragraph.heading = level.map(|level| level as usize + 1);
            }
            // Number 0 removes a paragraph from its style's list.
            "numId" => self.paragraph.list = number(start, "val").filter(|list| *list > 0),
            "ilvl" => self.paragraph.level = list_level(number(start, "val")),
            "t" => self.is_text = true,
            "tab" => self.write_mark("\t"),
            "br" | "cr" => self.write_mark("\n"),
            "noBreakHyphen" => self.write_mark("-"),
            "footnoteReference" | "endnoteReference" => {
                let id = number(start, "id").unwrap_or_default();
                self.write(&format!("[^{id}]"));
            }
            "blip" | "imagedata" => self.n_images += 1,
            "tbl" => self.out.open_table(),
            "tr" => self.out.open_row(),
            "tc" => self.out.open_cell(),
            // The separators above notes have no text, but ids.
            "footnote" | "endnote" => self.note = number(start, "id").filter(|id| *id > 0),
            _ => {}
        }
    }

    /// Writes what an element stands for; the same names are used for properties, before the text.
    fn write_mark(&mut self, mark: &str) {
        if self.paragraph.is_begun {
            self.out.verbatim(mark);
        }
    }

    fn close(&mut self, name: &str) {
        if let Some((skipped, depth)) = &mut self.skipped {
            if name == *skipped {
                *depth -= 1;
                if *depth == 0 {
                    self.skipped = None;
                }
            }
            return;
        }
        match name {
            "t" => self.is_text = false,
            "p" => self.out.line(),
            "tbl" => self.out.close_table(),
            "tr" => self.out.close_row(),
            "tc" => self.out.close_cell(),
            _ => {}
        }
    }
}

/// The start of an element of this name.
fn element<'a, 'b>(event: &'a Event<'b>, name: &str) -> Option<&'a BytesStart<'b>> {
    match event {
        Event::Start(start) | Event::Empty(start) => {
            (local(start.name().as_ref()) == name).then_some(start)
        }
        _ => None,
    }
}

/// The value of an attribute, whatever its prefix.
fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = start.attributes();
    // Duplicates are found by comparing each attribute with all before it.
    attributes.with_checks(false);
    let found = attributes.flatten().find(|it| local(it.key.as_ref()) == name)?;
    Some(found.value.into_owned())
}

fn number(start: &BytesStart<'_>, name: &str) -> Option<u64> {
    attribute(start, name)?.parse().ok()
}

/// A name without its prefix. The prefixes are those of every known program, or else mean the same.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// The text of XML's own entities. Others are left out.
fn predefined(name: &str) -> Option<&'static str> {
    quick_xml::escape::resolve_predefined_entity(name)
}

fn not_unpacked(error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => Error::Encrypted,
        _ => Error::Damaged { what: "the archive cannot be unpacked" },
    }
}
