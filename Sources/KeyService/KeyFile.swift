import Files
import NIOCore

/// A file that keyd reads, reached by its directory: keyd's user may not come by on the way there.
struct KeyFile: Sendable {
    /// As the configuration has it, for the log.
    let path: String
    /// nil where there was none when keyd started.
    let directory: FileHandle?

    /// Whether a file is the one that was seen before. nil stands for no file.
    typealias Stamp = FileStatus

    private var name: String { path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path }

    /// The directory that a file is in.
    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// What the file looks like, or the one that a link leads to; nil where there is none, or none that can be looked at.
    func stamp(_ files: any FileSystem) -> Stamp? {
        guard directory != nil, var status = try? files.status(name, in: directory, followingLinks: true) else {
            return nil
        }
        // A link more or less is the same file.
        status.links = 0
        return status
    }

    func contents(_ files: any FileSystem, maximum: Int) throws(FileError) -> [UInt8] {
        guard let directory else { throw FileError("open \(KeyFile.directory(of: path))", code: 2) }
        return Array(try files.contents(of: name, in: directory, maximum: maximum).readableBytesView)
    }
}

/// What happened to the keys, for the log.
struct KeyEvent: Equatable, Sendable {
    var isTrouble: Bool
    var text: String
    /// The file or directory that it's about.
    var path: String
}
