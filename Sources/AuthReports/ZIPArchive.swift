import MIME

/// Finds the report among the files of a ZIP archive (APPNOTE.TXT 6.3, §4.3).
struct ZIPArchive {
    struct File {
        var name: ArraySlice<UInt8>
        /// 0 where it's stored, 8 where it's deflated.
        var method: Int
        var isEncrypted: Bool
        /// Where its octets begin.
        var start: Int
        /// How many they are as they are packed; of a file that is deflated, its own end counts.
        var packedOctets: Int

        fileprivate var isReport: Bool {
            let name = name.map(ASCII.lower)
            return name.suffix(4).elementsEqual(".xml".utf8) || name.suffix(5).elementsEqual(".json".utf8)
        }

        /// Directories, and what macOS keeps beside files.
        fileprivate var isAside: Bool {
            name.last == UInt8(ascii: "/") || name.starts(with: "__MACOSX/".utf8)
        }
    }

    private let octets: [UInt8]

    /// The most files that are looked at.
    private static let maximumFiles = 1000

    static func isOne(_ octets: ArraySlice<UInt8>) -> Bool { octets.starts(with: [0x50, 0x4B, 3, 4]) }

    init(_ octets: [UInt8]) { self.octets = octets }

    /// The first file that is named as reports are, or else the first; nil where there is none.
    var report: File? {
        let listed = listedFiles
        let files = (listed.isEmpty ? filesInARow : listed).filter { !$0.isAside }
        return files.first { $0.isReport } ?? files.first
    }

    /// As the directory at the end lists them; none without one.
    private var listedFiles: [File] {
        guard let end = directoryEnd, let count = number(end + 10, octets: 2),
            var place = number(end + 16, octets: 4)
        else { return [] }
        var files: [File] = []
        for _ in 0..<min(count, Self.maximumFiles) {
            guard isMark(place, 1, 2), let nameOctets = number(place + 28, octets: 2),
                let extraOctets = number(place + 30, octets: 2), let commentOctets = number(place + 32, octets: 2),
                let packed = number(place + 20, octets: 4), let local = number(place + 42, octets: 4)
            else { break }
            if var file = file(at: local) {
                // Before the file these are missing where it was written in one go.
                file.packedOctets = packed
                files.append(file)
            }
            place += 46 + nameOctets + extraOctets + commentOctets
        }
        return files
    }

    /// Where the record is that ends the directory: a comment of at most 65,535 octets may follow it.
    private var directoryEnd: Int? {
        var place = octets.count - 22
        let first = max(0, place - 65_535)
        while place >= first {
            if isMark(place, 5, 6) { return place }
            place -= 1
        }
        return nil
    }

    /// As they follow each other from the start, up to one whose size isn't told.
    private var filesInARow: [File] {
        var files: [File] = []
        var place = 0
        while files.count < Self.maximumFiles, let file = file(at: place) {
            files.append(file)
            guard file.packedOctets > 0 || file.isAside else { break }
            place = file.start + file.packedOctets
        }
        return files
    }

    private func file(at place: Int) -> File? {
        guard isMark(place, 3, 4), let flags = number(place + 6, octets: 2), let method = number(place + 8, octets: 2),
            let packed = number(place + 18, octets: 4), let nameOctets = number(place + 26, octets: 2),
            let extraOctets = number(place + 28, octets: 2)
        else { return nil }
        let start = place + 30 + nameOctets + extraOctets
        guard start <= octets.count else { return nil }
        return File(
            name: octets[(place + 30)..<(place + 30 + nameOctets)],
            method: method,
            isEncrypted: flags & 1 != 0,
            start: start,
            packedOctets: packed
        )
    }

    private func isMark(_ place: Int, _ one: UInt8, _ other: UInt8) -> Bool {
        place >= 0 && place < octets.count && octets[place...].starts(with: [0x50, 0x4B, one, other])
    }

    private func number(_ place: Int, octets count: Int) -> Int? {
        guard place >= 0, place + count <= octets.count else { return nil }
        return (0..<count).reduce(0) { $0 | Int(octets[place + $1]) << (8 * $1) }
    }
}
