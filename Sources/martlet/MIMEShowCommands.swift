import ArgumentParser
import MIME

/// `martlet mime show`: the tree of a message's parts.
struct MIMEShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Draws the tree of a message's parts, with what is wrong with each."
    )

    @OptionGroup var input: MIMEInput
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() throws {
        let contents = try MIMEContents.read(input)
        let document = MIMEPartDocument(contents.root, contents)
        if json { return try JSONOutput.print(document) }
        draw(document, first: "", rest: "")
    }

    private func draw(_ part: MIMEPartDocument, first: String, rest: String) {
        // A message is shown below the part that it is, which has the number; the outermost needs none.
        let hasNumber = !part.isMessage || part.children.isEmpty && !first.isEmpty
        print(first + (hasNumber ? part.part + "  " : "") + part.line)
        let below = part.children.isEmpty ? "   " : "│  "
        for note in part.notes { print(rest + below + note) }
        for defect in part.defects { print(rest + below + "! \(defect.text) (\(defect.source))") }
        for (index, child) in part.children.enumerated() {
            let isLast = index == part.children.count - 1
            draw(child, first: rest + (isLast ? "└─ " : "├─ "), rest: rest + (isLast ? "   " : "│  "))
        }
    }
}

/// `martlet mime parts`: a line for each part.
struct MIMEPartsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "parts",
        abstract: "Lists a message's parts that hold content, by the numbers that IMAP and extract use."
    )

    @OptionGroup var input: MIMEInput
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() throws {
        let contents = try MIMEContents.read(input)
        let parts = MIMEPartDocument(contents.root, contents).all.filter { $0.children.isEmpty }
        if json { return try JSONOutput.print(parts) }
        for part in parts {
            print("\(part.part)  \(part.line)")
            for note in part.notes { print(String(repeating: " ", count: part.part.count + 2) + note) }
        }
    }
}

/// `martlet mime check`: what is wrong with a message.
struct MIMECheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Says what is wrong with a message, and which RFC says so.",
        discussion: "Exits with 1 when something is."
    )

    struct Finding: Encodable {
        let part: String
        let offset: Int
        let defect: MIMEPartDocument.Defect
    }

    @OptionGroup var input: MIMEInput
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() throws {
        let findings = MIMEPartDocument(try input.check()).all.flatMap { part -> [Finding] in
            // What is wrong with the whole message is of no part.
            let number = part.header.start == 0 && part.isMessage ? "" : part.part
            return part.defects.map { Finding(part: number, offset: part.header.start, defect: $0) }
        }
        if json {
            try JSONOutput.print(findings)
        } else {
            for finding in findings {
                let place = finding.part.isEmpty ? "message" : "part \(finding.part)"
                print("\(place) (octet \(finding.offset)): \(finding.defect.text) (\(finding.defect.source))")
            }
        }
        if !findings.isEmpty { throw ExitCode(1) }
    }
}
