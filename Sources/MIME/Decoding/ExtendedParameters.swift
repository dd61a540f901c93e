extension ParameterizedValue {
    /// A parameter as text, by its name in any case: RFC 2231's form if there is one, decoded; else the plain one, with
    /// the encoded words and raw octets that it should not have decoded too.
    package func text(_ name: StaticString) -> String? {
        let wanted = name.withUTF8Buffer { Array($0) }
        if let extended = parameters.first(where: { ASCII.equal($0.name, wanted + [UInt8(ascii: "*")]) }) {
            return ExtendedParameter(extended.value).text
        }
        return self[name].map { EncodedWords.text($0) }
    }

    /// The name of the file that a part holds (RFC 2183 §2.3): as it came, not safe as a path.
    package static func fileName(disposition: ParameterizedValue?, type: ParameterizedValue) -> String? {
        disposition?.text("filename") ?? type.text("name")
    }
}

/// The value of a parameter with character set and language (RFC 2231 §4), `utf-8'en'na%C3%AFve`.
package struct ExtendedParameter: Sendable, Equatable {
    /// As it is named; empty where it isn't.
    package var charset: [UInt8]
    package var language: [UInt8]
    /// Decoded octets in the character set.
    package var octets: [UInt8]

    /// Reads a value; one without quotes has no character set.
    package init(_ value: [UInt8]) {
        let parts = value.split(separator: UInt8(ascii: "'"), maxSplits: 2, omittingEmptySubsequences: false)
        let isWhole = parts.count == 3
        charset = isWhole ? Array(parts[0]) : []
        language = isWhole ? Array(parts[1]) : []
        octets = ASCII.unescaped(isWhole ? parts[2] : value[...], sign: UInt8(ascii: "%"))
    }

    /// In UTF-8; a character set that is missing or unknown is guessed.
    package var text: String {
        let utf8 = Charset(charset).map { $0.utf8(octets) } ?? Charset.guess(octets)
        return String(decoding: utf8, as: UTF8.self)
    }

    /// The parameter as it stands in a field, each string without `;` and short enough for a line of its own: `name=token`,
    /// `name="quoted"`, or RFC 2231's sections where the value is long or not ASCII.
    package static func encode(_ name: String, _ value: String, language: String = "") -> [String] {
        let octets = Array(value.utf8)
        let room = max(20, 76 - name.utf8.count - 6)
        if octets.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }), octets.count <= room {
            if !octets.isEmpty, octets.allSatisfy(isTokenCharacter) { return ["\(name)=\(value)"] }
            var quoted = ""
            for character in value {
                if character == "\"" || character == "\\" { quoted.append("\\") }
                quoted.append(character)
            }
            return ["\(name)=\"\(quoted)\""]
        }
        var sections: [String] = []
        var section = "utf-8'\(language)'"
        for scalar in value.unicodeScalars {
            let text = escaped(scalar)
            if section.utf8.count + text.utf8.count > room {
                sections.append(section)
                section = ""
            }
            section += text
        }
        sections.append(section)
        if sections.count == 1 { return ["\(name)*=\(section)"] }
        return sections.enumerated().map { "\(name)*\($0)*=\($1)" }
    }

    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        let octets = UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
        let digits = QuotedPrintableEncoder.digits
        var text: [UInt8] = []
        for octet in octets {
            if ASCII.isLetter(octet) || ASCII.isDigit(octet) || "!#$&+-.^_`{|}~".utf8.contains(octet) {
                text.append(octet)
            } else {
                text += [UInt8(ascii: "%"), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func isTokenCharacter(_ octet: UInt8) -> Bool {
        octet > 0x20 && octet < 0x7F && !"()<>@,;:\\\"/[]?=*'%".utf8.contains(octet)
    }
}
