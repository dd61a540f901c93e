import Files
import NIOCore

/// The format of a spool as a whole, in `version`: which files there are, and what they say. What an older version wrote is
/// read and brought forward; what a later one wrote is left alone.
///
/// 1: without such a file. 2: with it; files of messages, states and the journal as docs/queue.md describes them.
package enum SpoolVersion {
    /// What is written now.
    package static let current = 2

    static let fileName = "version"
    private static let beginning = "martlet spool "

    static func content(_ version: Int) -> ByteBuffer { ByteBuffer(string: "\(beginning)\(version)\n") }

    /// nil where the octets are no such file.
    static func version(_ content: ByteBuffer) -> Int? {
        let text = String(buffer: content)
        guard text.hasPrefix(beginning), text.hasSuffix("\n") else { return nil }
        return Int(text.dropFirst(beginning.utf8.count).dropLast()).flatMap { $0 > 0 ? $0 : nil }
    }

    /// What a spool's directory says; 1 where it says nothing.
    ///
    /// - Throws: `newer`, `corrupt`, `failed`.
    static func known(in directory: FileHandle, _ disk: any FileSystem) throws(SpoolError) -> Int {
        let content: ByteBuffer
        do throws(FileError) {
            content = try disk.contents(of: fileName, in: directory, maximum: 100)
        } catch {
            if error.isMissing { return 1 }
            throw SpoolError(error)
        }
        guard let version = version(content) else { throw .corrupt(fileName) }
        guard version <= current else { throw .newer(version) }
        return version
    }
}
