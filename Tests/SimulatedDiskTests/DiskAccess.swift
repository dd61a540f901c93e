import Files
import NIOCore

extension FileSystem {
    func put(_ text: String, in path: String, syncing: Bool) throws {
        let file = try open(path, in: nil, [.writing, .creating, .exclusive], mode: 0o600)
        defer { close(file) }
        try write(ByteBuffer(string: text), to: file)
        if syncing { try sync(file) }
    }

    func syncDirectory(_ path: String) throws {
        let directory = try open(path, in: nil, [.reading, .directory], mode: 0)
        defer { close(directory) }
        try sync(directory)
    }

    /// All files beneath a directory, by path.
    func files(_ directory: String = ".") throws -> [String: String] {
        var files: [String: String] = [:]
        for octets in try names(directory, in: nil) {
            let name = String(decoding: octets, as: UTF8.self)
            let path = directory == "." ? name : "\(directory)/\(name)"
            if try status(path, in: nil).kind == .directory {
                files.merge(try self.files(path)) { first, _ in first }
            } else {
                files[path] = String(buffer: try contents(of: path, in: nil, maximum: 1 << 20))
            }
        }
        return files
    }
}
