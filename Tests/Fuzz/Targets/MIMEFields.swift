import MIME

/// An address list: what is printed of it is one field, and reads the same.
let addressTarget = FuzzTarget("address", maximum: 2048) { input in
    let list = AddressListParser.parse(Array(input))
    var header = HeaderBuilder()
    guard (try? header.add("To", addresses: list)) != nil else { return }
    let block = HeaderBlock(header.octets)
    demand(block.fields.count == 1, "\(block.fields.count) fields")
    let again = AddressListParser.parse(block.value(of: block.fields[0]))
    demand(again.count == list.count, "\(list.count) entries become \(again.count)")
    for (one, other) in zip(list, again) {
        demand((one.host == nil) == (other.host == nil), "a group becomes an address, or the other way round")
        guard let host = one.host else { continue }
        demand(one.mailbox == other.mailbox, "another local part")
        demand(one.displayName ?? "" == other.displayName ?? "", "another name")
        let isConverted = host.contains { $0 >= 0x80 } && !one.needsUTF8
        demand(isConverted ? InternationalDomain.ascii(host) == other.host : host == other.host, "another host")
    }
}

/// A date: what is printed of it reads the same.
let dateTarget = FuzzTarget("date", maximum: 256) { input in
    guard let date = DateTime(field: input) else { return }
    demand(DateTime(field: date.description.utf8) == date, "\(date) reads as another date")
    let again = DateTime(secondsSince1970: date.secondsSince1970, offset: date.offset)
    demand(date.second == 60 || date.year == 1 || date.year == 9999 || again == date, "\(date) counts as \(again)")
}

/// Encoded words, and text in a field: what is encoded reads the same, in words that are short enough, in one field.
let encodedWordsTarget = FuzzTarget("encoded-words", maximum: 2048) { input in
    let octets = Array(input)
    _ = EncodedWords.defects(of: octets)
    let text = EncodedWords.text(octets)
    let words = EncodedWords.encode(text)
    demand(words.allSatisfy { $0.count <= 75 && $0.allSatisfy { $0 > 0x20 && $0 < 0x7F } }, "a word is too long")
    demand(EncodedWords.text(Array(words.joined(separator: [0x20]))) == text, "the words mean another text")
    var header = HeaderBuilder()
    guard (try? header.add("Subject", text: text)) != nil else { return }
    let block = HeaderBlock(header.octets)
    demand(block.fields.count == 1, "\(block.fields.count) fields")
    demand(EncodedWords.text(block.value(of: block.fields[0])) == text, "the field means another text")
}

/// Bodies: reports, flowed text, files within text and pieces of messages. Reports that are written again stay as they are,
/// and pieces change nothing.
let mimeBodyTarget = FuzzTarget("mime-body", maximum: 16_384) { input in
    let body = Array(input)
    for type in ["delivery-status", "disposition-notification", "feedback-report"] {
        let content = ContentFields(HeaderBlock(Array("Content-Type: message/\(type)\r\n\r\n".utf8)))
        guard let first = MessageReport(content, body: body), let once = try? first.written(),
            let second = MessageReport(content, body: once), let twice = try? second.written()
        else { continue }
        demand(MessageReport(content, body: twice) == second, "a report changes when it is written again")
    }
    let size = Int(body.first ?? 0) % 9 + 1
    demand(flowed(body, body.count) == flowed(body, size), "flowed text depends on the pieces")
    demand(files(body, body.count) == files(body, size), "files depend on the pieces")
    var pieces = PartialAssembly(mostOctets: 1 << 20)
    try? pieces.add(body)
    _ = try? pieces.message()
    var parts = YEncAssembly(mostOctets: 1 << 20)
    try? parts.addAll(in: body)
    _ = try? parts.file()
}

private func flowed(_ body: [UInt8], _ size: Int) -> [UInt8] {
    var flowed = FlowedText(deletesSpaces: true)
    var text: [UInt8] = []
    for start in stride(from: 0, to: body.count, by: max(1, size)) {
        flowed.feed(body[start..<min(start + size, body.count)], into: &text)
    }
    flowed.finish(into: &text)
    return text
}

/// What a text holds: the octets outside and within files, and the files with where each begins and ends among them.
private struct FoundFiles: Equatable {
    var octets: [UInt8] = []
    var files: [EnclosedFile] = []
    var places: [Int] = []
}

private func files(_ body: [UInt8], _ size: Int) -> FoundFiles {
    var reader = EnclosedFileReader()
    var found = FoundFiles()
    func take(_ event: EnclosedFileReader.Event) {
        switch event {
        case .text(let octets), .content(let octets): found.octets += octets
        case .begin(let file), .end(let file):
            found.files.append(file)
            found.places.append(found.octets.count)
        }
    }
    for start in stride(from: 0, to: body.count, by: max(1, size)) {
        reader.feed(body[start..<min(start + size, body.count)], to: take)
    }
    reader.finish(to: take)
    return found
}
