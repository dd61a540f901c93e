extension ContentFields {
    /// The name that the sender gave the part: the disposition's `filename` (RFC 2183 §2.3), or the type's `name`; nil
    /// where it has none. It's the sender's text: see `SafeFileName` before making a file of it.
    package var fileName: String? { ParameterizedValue.fileName(disposition: disposition, type: type) }
}

/// Makes a name that a stranger chose into one of a file in this directory and in no other.
package enum SafeFileName {
    /// The most octets of a name, so that a number and a system's own limit of 255 fit.
    private static let maximum = 200

    /// Names that are devices on some systems, with any extension.
    private static let devices: Set<String> = Set(
        ["con", "prn", "aux", "nul", "clock$"] + (0...9).flatMap { ["com\($0)", "lpt\($0)"] }
    )

    /// The name without directories, control characters, marks that turn the direction of text, characters that shells or
    /// other systems treat apart, and dots or blanks at its ends; never hidden, never a device's.
    ///
    /// - Parameters:
    ///   - name: the name in UTF-8; what is no UTF-8 is replaced.
    ///   - fallback: what it's called when nothing is left.
    package static func make(_ name: [UInt8], fallback: String) -> String {
        let text = String(decoding: name.prefix(4096), as: UTF8.self).unicodeScalars
        let last = text.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last.map { Array($0) } ?? []
        var scalars = last.compactMap(replacement)
        while let end = scalars.last, end == "." || end == " " { scalars.removeLast() }
        let start = scalars.drop { $0 == "." || $0 == " " || $0 == "-" || $0 == "~" }
        let safe = cut(String(String.UnicodeScalarView(start)))
        guard !safe.isEmpty else { return fallback }
        let stem = String(safe.prefix { $0 != "." }).lowercased()
        return devices.contains(stem.filter { $0 != " " }) ? "_" + safe : safe
    }

    private static func replacement(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned: return nil
        case .spaceSeparator: return " "
        default: return ":*?\"<>|$`&;'%!".unicodeScalars.contains(scalar) ? "_" : scalar
        }
    }

    /// Cuts a long name before its extension, between characters.
    private static func cut(_ name: String) -> String {
        guard name.utf8.count > maximum else { return name }
        var ending = ""
        if let dot = name.lastIndex(of: "."), name[dot...].utf8.count <= 20 { ending = String(name[dot...]) }
        var stem = ""
        var room = maximum - ending.utf8.count
        for character in name {
            room -= String(character).utf8.count
            if room < 0 { break }
            stem.append(character)
        }
        return stem + ending
    }
}
