import '../ui/theme.css'; export {};
