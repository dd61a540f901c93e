/// The text of an HTML document for search and previews, from pieces of any size. Loads and runs nothing; keeps at most a
/// tag's name and an entity. Scripts, styles, comments and attributes are left out; blocks begin new lines.
package struct HTMLText: Sendable {
    private enum State {
        case text
        case entity
        /// Behind `<`, until it's clear what follows.
        case open
        case tag
        /// Behind the tag's name; with the quote that is open.
        case attributes(quote: UInt8)
        case comment(dashes: Int)
        case declaration
    }

    private var state = State.text
    private var word: [UInt8] = []
    /// The element whose content is left out until it ends.
    private var hidden: [UInt8]?
    private var hasText = false
    private var pendingBlank = false
    private var pendingLine = false

    private static let wordLimit = 32
    private static let hiddenElements = Set(
        ["script", "style", "title", "template", "noscript"].map { Array($0.utf8) }
    )
    private static let blocks = Set(
        [
            "p", "div", "br", "hr", "li", "ul", "ol", "dl", "dt", "dd", "tr", "table", "h1", "h2", "h3", "h4", "h5",
            "h6",
            "blockquote", "pre", "section", "article", "header", "footer", "form", "address", "center",
        ].map { Array($0.utf8) }
    )
    private static let cells = Set(["td", "th"].map { Array($0.utf8) })

    package init() {}

    /// Takes the next piece of the document, in UTF-8, and appends its text.
    package mutating func feed(_ octets: some Sequence<UInt8>, into text: inout [UInt8]) {
        let done: Void? = octets.withContiguousStorageIfAvailable { run($0, into: &text) }
        if done == nil { Array(octets).withUnsafeBufferPointer { run($0, into: &text) } }
    }

    /// Most octets are words, or within tags: those are taken together.
    private mutating func run(_ octets: UnsafeBufferPointer<UInt8>, into text: inout [UInt8]) {
        var position = 0
        while position < octets.count {
            let start = position
            switch state {
            case .text where hidden != nil:
                while position < octets.count, octets[position] != UInt8(ascii: "<") { position += 1 }
            case .text:
                while position < octets.count, Self.isOrdinary(octets[position]) { position += 1 }
                if position > start { append(octets[start..<position], into: &text) }
            case .attributes(let quote):
                while position < octets.count, !Self.endsAttribute(octets[position], quote) { position += 1 }
            case .entity, .open, .tag, .comment, .declaration: break
            }
            guard position < octets.count else { return }
            take(octets[position], into: &text)
            position += 1
        }
    }

    private static func isOrdinary(_ octet: UInt8) -> Bool {
        octet > 0x20 && octet != UInt8(ascii: "<") && octet != UInt8(ascii: "&")
            || octet < 0x20 && !ASCII.isWhitespace(octet)
    }

    private static func endsAttribute(_ octet: UInt8, _ quote: UInt8) -> Bool {
        if quote != 0 { return octet == quote }
        return octet == UInt8(ascii: ">") || octet == ASCII.quote || octet == UInt8(ascii: "'")
    }

    /// The end.
    package mutating func finish(into text: inout [UInt8]) {
        if case .entity = state { endEntity(into: &text, isComplete: false) }
        state = .text
    }

    private mutating func take(_ octet: UInt8, into text: inout [UInt8]) {
        switch state {
        case .text: character(octet, into: &text)
        case .entity:
            if ASCII.isLetter(octet) || ASCII.isDigit(octet) || octet == UInt8(ascii: "#"), word.count < 12 {
                word.append(octet)
            } else {
                state = .text
                endEntity(into: &text, isComplete: octet == UInt8(ascii: ";"))
                if octet != UInt8(ascii: ";") { character(octet, into: &text) }
            }
        case .open: open(octet, into: &text)
        case .tag:
            if octet == UInt8(ascii: ">") {
                endTag()
            } else if let hidden, !Self.isEndTag(word, of: hidden, before: octet) {
                state = .text
                character(octet, into: &text)
            } else if ASCII.isWhitespace(octet) || (octet == UInt8(ascii: "/") && !word.isEmpty && word != [octet]) {
                state = .attributes(quote: 0)
            } else if word.count < Self.wordLimit {
                word.append(ASCII.lower(octet))
            }
        case .attributes(let quote):
            if quote == 0, octet == UInt8(ascii: ">") {
                endTag()
            } else if quote == 0, octet == ASCII.quote || octet == UInt8(ascii: "'") {
                state = .attributes(quote: octet)
            } else if octet == quote {
                state = .attributes(quote: 0)
            }
        case .comment(let dashes):
            if octet == UInt8(ascii: ">"), dashes >= 2 {
                state = .text
            } else {
                state = .comment(dashes: octet == UInt8(ascii: "-") ? min(dashes + 1, 2) : 0)
            }
        case .declaration:
            if octet == UInt8(ascii: ">") {
                state = .text
            } else if octet == UInt8(ascii: "-"), word == [octet] {
                state = .comment(dashes: 0)
            } else if word.count < 2 {
                word.append(octet)
            }
        }
    }

    private mutating func character(_ octet: UInt8, into text: inout [UInt8]) {
        if octet == UInt8(ascii: "<") {
            state = .open
        } else if hidden != nil {
            return
        } else if octet == UInt8(ascii: "&") {
            state = .entity
            word.removeAll(keepingCapacity: true)
        } else if ASCII.isWhitespace(octet) {
            pendingBlank = true
        } else {
            append(CollectionOfOne(octet), into: &text)
        }
    }

    private mutating func append(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        if hasText, pendingLine {
            text.append(ASCII.lineFeed)
        } else if hasText, pendingBlank {
            text.append(ASCII.space)
        }
        pendingLine = false
        pendingBlank = false
        hasText = true
        text.append(contentsOf: octets)
    }

    private mutating func open(_ octet: UInt8, into text: inout [UInt8]) {
        word.removeAll(keepingCapacity: true)
        // In what is hidden only an end tag counts.
        if octet == UInt8(ascii: "/") || (hidden == nil && ASCII.isLetter(octet)) {
            word.append(ASCII.lower(octet))
            state = .tag
        } else if hidden == nil, octet == UInt8(ascii: "!") || octet == UInt8(ascii: "?") {
            state = .declaration
        } else {
            state = .text
            if hidden == nil { append([UInt8(ascii: "<")], into: &text) }
            character(octet, into: &text)
        }
    }

    /// Whether the word can be the begin of this element's end tag.
    private static func isEndTag(_ word: [UInt8], of element: [UInt8], before octet: UInt8) -> Bool {
        let name = word.dropFirst()
        return ASCII.isLetter(octet) ? element.starts(with: name) : element.elementsEqual(name)
    }

    private mutating func endTag() {
        state = .text
        let isEnd = word.first == UInt8(ascii: "/")
        let name = isEnd ? Array(word.dropFirst()) : word
        if let element = hidden {
            if isEnd, name == element { hidden = nil }
        } else if !isEnd, Self.hiddenElements.contains(name) {
            hidden = name
        }
        if Self.blocks.contains(name) { pendingLine = true }
        if Self.cells.contains(name) { pendingBlank = true }
    }

    private mutating func endEntity(into text: inout [UInt8], isComplete: Bool) {
        let name = String(decoding: word, as: UTF8.self)
        word.removeAll(keepingCapacity: true)
        if let scalar = Self.scalar(name) {
            // Blanks that don't break are blanks, and soft hyphens nothing, to who searches.
            if scalar == "\u{A0}" || scalar.properties.isWhitespace {
                pendingBlank = true
            } else if scalar != "\u{AD}", scalar.value >= 0x20 {
                append(Array(String(Character(scalar)).utf8), into: &text)
            }
        } else {
            append(Array("&\(name)\(isComplete ? ";" : "")".utf8), into: &text)
        }
    }

    private static func scalar(_ name: String) -> Unicode.Scalar? {
        guard name.hasPrefix("#") else { return entities[name] }
        let digits = name.dropFirst()
        let number = digits.first?.lowercased() == "x" ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
        return number.flatMap { Unicode.Scalar($0) } ?? "\u{FFFD}"
    }

    /// The named characters of HTML 4 that texts use: those of Latin-1 in order, then others.
    private static let entities: [String: Unicode.Scalar] = {
        let latin = """
            nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro \
            para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil \
            Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave \
            Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml \
            igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute \
            thorn yuml
            """
        var entities: [String: Unicode.Scalar] = [
            "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "euro": "€", "ndash": "–", "mdash": "—",
            "lsquo": "‘", "rsquo": "’", "sbquo": "‚", "ldquo": "“", "rdquo": "”", "bdquo": "„", "hellip": "…",
            "bull": "•", "trade": "™", "lsaquo": "‹", "rsaquo": "›", "ensp": " ", "emsp": " ", "thinsp": " ",
            "OElig": "Œ", "oelig": "œ", "Scaron": "Š", "scaron": "š", "Yuml": "Ÿ", "dagger": "†", "permil": "‰",
            "larr": "←", "rarr": "→", "uarr": "↑", "darr": "↓", "minus": "−", "infin": "∞", "ne": "≠", "le": "≤",
            "ge": "≥", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "pi": "π", "mu": "μ", "Omega": "Ω",
        ]
        for (index, name) in latin.split(separator: " ").enumerated() {
            entities[String(name)] = Unicode.Scalar(UInt32(160 + index))
        }
        return entities
    }()
}
