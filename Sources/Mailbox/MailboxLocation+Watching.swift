extension MailboxLocation {
    /// The directories to watch with inotify for changes to a folder; empty for formats that can't be watched.
    ///
    /// - Parameter mailDirectory: the path that mailboxes' paths are relative to.
    package func directories(of folder: FolderName, beneath mailDirectory: String) -> [String] {
        switch format {
        case .maildir, .maildirTree: ["new", "cur"].map { "\(mailDirectory)/\(path)/\(folder.directory)/\($0)" }
        case .mbox: []
        }
    }
}
