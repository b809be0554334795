//! How code is highlighted and formulas are drawn: data that the page turns into elements.
//!
//! Nothing here is markup. A class or a tag is one of a list and a length is a number, so no text of an
//! answer can become an element, an attribute or a style.

use serde::{Deserialize, Serialize};

/// What a piece of code is, as far as its colour is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeClass {
    /// Anything without a colour of its own.
    Plain,
    /// A comment.
    Comment,
    /// A string or a character.
    String,
    /// A number.
    Number,
    /// A word of the language.
    Keyword,
    /// The name of a function or a macro.
    Function,
    /// The name of a type or a module.
    Type,
    /// A constant of the language, such as `true`, or an escape in a string.
    Constant,
    /// A name that the language treats as a variable.
    Variable,
    /// The name of an element, an attribute or a key.
    Tag,
    /// An operator.
    Operator,
    /// Brackets, commas and the like.
    Punctuation,
    /// A heading.
    Heading,
    /// A line that a change adds.
    Inserted,
    /// A line that a change removes.
    Deleted,
}

/// A piece of code of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRun {
    /// Its length in bytes of UTF-8.
    pub bytes: u32,
    /// What it is.
    pub class: CodeClass,
}

/// A formula of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Formula {
    /// Its LaTeX, without delimiters.
    pub latex: String,
    /// Whether it stands on its own line.
    pub is_display: bool,
}

/// An element of MathML Core. Elements that link, load or act are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MathTag {
    /// A fraction.
    Mfrac,
    /// An identifier.
    Mi,
    /// A number.
    Mn,
    /// An operator.
    Mo,
    /// Something above something.
    Mover,
    /// A root with a degree.
    Mroot,
    /// A row of elements.
    Mrow,
    /// Space.
    Mspace,
    /// A square root.
    Msqrt,
    /// A base with a subscript.
    Msub,
    /// A base with a subscript and a superscript.
    Msubsup,
    /// A base with a superscript.
    Msup,
    /// A table.
    Mtable,
    /// A cell.
    Mtd,
    /// Text.
    Mtext,
    /// A row of a table.
    Mtr,
    /// Something below something.
    Munder,
    /// Something below and something above something.
    Munderover,
}

/// An attribute of an element of a formula.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MathAttribute {
    /// Whether formulas inside are set as displayed ones.
    DisplayStyle(bool),
    /// How many sizes smaller the content is. 0 to 2.
    ScriptLevel(u8),
    /// Whether an operator grows with its neighbours.
    Stretchy(bool),
    /// Whether it grows evenly above and below the axis.
    Symmetric(bool),
    /// Whether it is drawn large in displayed formulas.
    LargeOperator(bool),
    /// Whether its limits move beside it in running text.
    MovableLimits(bool),
    /// Its smallest and largest size, in em.
    Size(f32),
    /// The thickness of a fraction's bar, in em.
    LineThickness(f32),
    /// The width of a space, in em.
    Width(f32),
    /// The height of a space, in em.
    Height(f32),
    /// The depth of a space, in em.
    Depth(f32),
    /// A single letter is upright.
    Upright,
    /// A class of the style sheet.
    Class(MathClass),
}

/// How a part of a formula looks that attributes cannot express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MathClass {
    /// Columns alternate between the right and the left side, as around a sign of equality.
    AlignLike,
    /// Pairs of columns have a distance.
    Align,
    /// Columns have a distance.
    ArrayLike,
    /// The columns of a case distinction.
    Cases,
    /// Cells begin on the left.
    CellsLeft,
    /// Cells end on the right.
    CellsRight,
    /// The first line is on the left and the last one on the right.
    Multiline,
    /// This cell begins on the left.
    CellLeft,
    /// This cell ends on the right.
    CellRight,
    /// A line on the left of the cell.
    LineLeft,
    /// A line on the right of the cell.
    LineRight,
    /// A line above the row.
    LineAbove,
    /// A frame.
    Boxed,
    /// A smaller sign.
    Small,
    /// A little space is taken back.
    Back,
    /// Struck through.
    Negated,
}

/// The next piece of a formula, in document order. Every opened element is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MathPiece {
    /// An element begins.
    Open {
        /// Which.
        tag: MathTag,
        /// Its attributes, each at most once.
        attributes: Vec<MathAttribute>,
    },
    /// Text inside the element.
    Text {
        /// The text, not escaped.
        text: String,
    },
    /// The element that was opened last ends.
    Close,
}
