/// Puts the parts of one yEnc file together; they may come in any order and be missing.
package struct YEncAssembly: Sendable {
    package enum Failure: Error, Equatable {
        /// No part of a file, or one without a place in it.
        case notPart
        /// Its file has another name, size or number of parts.
        case otherFile
        /// It overlaps one that is there.
        case repeated
        /// The file has more octets than wanted.
        case tooLong
        /// These places of the file haven't come.
        case missing([Range<Int>])
        /// All is there, but the file's checksum is another.
        case badChecksum
    }

    package private(set) var name: [UInt8]?
    private var size: Int?
    private var pieces: [(range: Range<Int>, octets: [UInt8])] = []
    private var checksum: UInt32?
    private let mostOctets: Int

    private static let mostParts = 10_000

    /// - Parameter mostOctets: of the file.
    package init(mostOctets: Int) { self.mostOctets = mostOctets }

    /// Takes the parts that are in a text.
    package mutating func addAll(in text: [UInt8]) throws(Failure) {
        var reader = EnclosedFileReader()
        var parts: [(EnclosedFile, [UInt8])] = []
        var octets: [UInt8] = []
        func take(_ event: EnclosedFileReader.Event) {
            switch event {
            case .text: break
            case .begin: octets = []
            case .content(let piece): octets += piece
            case .end(let file): if file.encoding == .yEnc { parts.append((file, octets)) }
            }
        }
        reader.feed(text, to: take)
        reader.finish(to: take)
        for (file, octets) in parts { try add(file, octets) }
    }

    /// Takes a part, with what was decoded of it.
    package mutating func add(_ file: EnclosedFile, _ octets: [UInt8]) throws(Failure) {
        guard let part = file.part, let range = part.range, let size = part.fileSize, range.count == octets.count,
            range.upperBound <= size, file.defects.isEmpty
        else { throw .notPart }
        guard self.size == nil || (self.size == size && name == file.name) else { throw .otherFile }
        guard size <= mostOctets, pieces.count < Self.mostParts else { throw .tooLong }
        // Sorted by place: only the neighbours can overlap.
        let index = pieces.firstIndex { $0.range.lowerBound >= range.lowerBound } ?? pieces.count
        guard index == pieces.count || pieces[index].range.lowerBound >= range.upperBound,
            index == 0 || pieces[index - 1].range.upperBound <= range.lowerBound
        else { throw .repeated }
        name = file.name
        self.size = size
        checksum = checksum ?? part.fileChecksum
        pieces.insert((range, octets), at: index)
    }

    /// The file, if all of it is there and its checksum, where one was told, is right.
    package func file() throws(Failure) -> [UInt8] {
        var missing: [Range<Int>] = []
        var end = 0
        var octets: [UInt8] = []
        for piece in pieces {
            if piece.range.lowerBound > end { missing.append(end..<piece.range.lowerBound) }
            octets += piece.octets
            end = piece.range.upperBound
        }
        if end < size ?? 0 || size == nil { missing.append(end..<max(end, size ?? 0)) }
        guard missing.isEmpty else { throw .missing(missing) }
        var sum = CRC32()
        sum.add(octets)
        if let checksum, checksum != sum.value { throw .badChecksum }
        return octets
    }
}
